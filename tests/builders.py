"""Small, exact records for tests; every value can be overridden."""

from __future__ import annotations

import hashlib
from typing import Any

import cv2
import numpy as np

from components.contracts.records import AlignedClip, Clip, Quality, Word
from components.contracts.timebase import Grid


def make_clip(name: str = "a", **fields: Any) -> Clip:
    """A clip row with plain defaults."""
    defaults: dict[str, Any] = {
        "clip_id": f"tiny/{name}",
        "dataset": "tiny",
        "content_sha256": hashlib.sha256(name.encode()).hexdigest(),
        "subject_id": "tiny/s1",
        "session_id": "tiny/s1/1",
        "emotion": "happiness",
        "licence": "CC0",
        "consent": "synthetic",
    }
    return Clip(**{**defaults, **fields})


def make_aligned_clip(name: str = "a", *, steps: int = 20, seed: int = 0, **fields: Any) -> AlignedClip:
    """An aligned clip with a noisy face, a tone, three words and two physiological channels on a 10 Hz grid."""
    rng = np.random.default_rng(seed)
    grid = Grid(rate_hz=10.0, num_steps=steps)
    duration_s = steps / grid.rate_hz
    picture = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    time_s = np.arange(int(16000 * duration_s)) / 16000
    tone = 0.3 * np.sin(2 * np.pi * 180 * time_s) + 0.01 * rng.standard_normal(time_s.size)
    valid = np.ones(steps, dtype=bool)
    text_mask = np.zeros(steps, dtype=bool)
    text_mask[2:12] = True
    samples = int(64 * duration_s)
    defaults: dict[str, Any] = {
        "clip_id": f"tiny/{name}",
        "content_sha256": f"{seed:064x}",
        "alignment_fingerprint": "0" * 64,
        "grid": grid,
        "face_jpeg": tuple([jpeg] * steps),
        "face_box": np.tile(np.array([10, 10, 80, 80], dtype=np.float32), (steps, 1)),
        "audio_rate_hz": 16000,
        "pcm": (tone * 32767).astype(np.int16),
        "speech": np.full(steps, 0.9, dtype=np.float32),
        "words": (
            Word(text="what", start_s=0.2, end_s=0.5),
            Word(text="a", start_s=0.5, end_s=0.6),
            Word(text="day", start_s=0.6, end_s=1.2),
        ),
        "words_source": "given",
        "physio_rate_hz": 64.0,
        "physio": {
            "ecg": np.sin(2 * np.pi * 1.2 * np.arange(samples) / 64).astype(np.float32),
            "eda": np.linspace(0.2, 0.5, samples, dtype=np.float32),
        },
        "masks": {"face": valid, "voice": valid.copy(), "text": text_mask, "physio": valid.copy()},
        "quality": Quality(
            duration_s=duration_s,
            offset_s=0.0,
            drift_s_per_min=0.0,
            frame_rate_hz=25.0,
            frame_interval_cv=0.0,
            coverage={"face": 1.0, "voice": 1.0, "text": 0.5, "physio": 1.0},
            speech_fraction=0.9,
        ),
    }
    return AlignedClip(**{**defaults, **fields})
