"""A clip that makes every encoder load and run its weights before the first request."""

from __future__ import annotations

import numpy as np

from components.contracts.records import AlignedClip, Quality, Word
from components.contracts.timebase import Grid

WARM_STEPS = 10
WARM_CROP_PX = 96


def warm_clip() -> AlignedClip:
    """A second of grey picture, quiet noise and one word: enough for every encoder to load and run its weights."""
    import cv2

    grid = Grid(rate_hz=10.0, num_steps=WARM_STEPS)
    valid = np.ones(WARM_STEPS, dtype=bool)
    picture = np.full((WARM_CROP_PX, WARM_CROP_PX, 3), 128, dtype=np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    noise = np.random.default_rng(0).standard_normal(16000)
    beat = np.sin(2 * np.pi * 1.2 * np.arange(64) / 64).astype(np.float32)
    return AlignedClip(
        clip_id="warm-up",
        content_sha256="",
        alignment_fingerprint="",
        grid=grid,
        face_jpeg=(jpeg,) * WARM_STEPS,
        face_box=np.zeros((WARM_STEPS, 4), dtype=np.float32),
        audio_rate_hz=16000,
        pcm=(noise * 300).astype(np.int16),
        speech=np.ones(WARM_STEPS, dtype=np.float32),
        words=(Word(text="well", start_s=0.1, end_s=0.6),),
        words_source="given",
        physio_rate_hz=64.0,
        physio={"ecg": beat, "eda": beat},
        masks=dict.fromkeys(("face", "voice", "text", "physio"), valid),
        quality=Quality(
            duration_s=1.0,
            offset_s=0.0,
            drift_s_per_min=0.0,
            frame_rate_hz=10.0,
            frame_interval_cv=0.0,
            coverage={},
            speech_fraction=1.0,
        ),
    )
