"""Clips made up for timing: sizes as in real use, contents from a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from components.catalog.cases import Case
from components.contracts.config import MODALITIES, Features, Model
from components.contracts.labels import taxonomy
from components.contracts.records import AlignedClip, Quality
from components.contracts.timebase import Grid
from components.features.registry import create
from components.model.spec import ModelSpec

CLASSES = taxonomy("abaw8").classes
AUDIO_RATE_HZ = 16000
CROP_PX = 96
JPEG_QUALITY = 95
# A share of steps without a face, or of silence, as clips have it.
MISSING = 0.05


def widths_of(names: Sequence[str] = MODALITIES) -> dict[str, int]:
    """Modality → width, as the default encoders give it."""
    encoders = Features().encoders
    return {name: create(encoders[name], name).width for name in names}


def spec(widths: Mapping[str, int], *, rate_hz: float = 10.0, **model: object) -> ModelSpec:
    """The default model for some modalities, with changes."""
    return ModelSpec(modalities=dict(widths), classes=CLASSES, model=Model.model_validate(model), rate_hz=rate_hz)


def cases(count: int, *, steps: int, widths: Mapping[str, int], seed: int = 0) -> list[Case]:
    """Transformed clips of equal length, standard normal features, every class equally often."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        label = index % len(CLASSES)
        made.append(
            Case(
                clip_id=f"made/{index:04d}",
                dataset="made",
                subject_id=f"made/s{index % 8}",
                features={name: rng.standard_normal((steps, width), np.float32) for name, width in widths.items()},
                masks={name: rng.random(steps) >= MISSING for name in widths},
                step_labels=np.full(steps, label, dtype=np.int64),
                clip_label=label,
                rate_hz=10.0,
                groups={},
            )
        )
    return made


def aligned_clip(index: int, *, steps: int, rate_hz: float, seed: int = 0) -> AlignedClip:
    """A clip with a changing picture at every step and a voice-like sound."""
    rng = np.random.default_rng([seed, index])
    seconds = steps / rate_hz
    time_s = np.arange(round(seconds * AUDIO_RATE_HZ)) / AUDIO_RATE_HZ
    pitch_hz = 160 + 30 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / AUDIO_RATE_HZ
    wave = sum(np.sin(k * phase) / k for k in range(1, 12)) * (1.2 + np.sin(2 * np.pi * 3 * time_s))
    wave = 0.1 * wave + 0.01 * rng.standard_normal(time_s.size)
    present = np.ones(steps, dtype=bool)
    return AlignedClip(
        clip_id=f"made/{index:04d}",
        content_sha256=hashlib.sha256(f"{seed}:{index}".encode()).hexdigest(),
        alignment_fingerprint="0" * 64,
        grid=Grid(rate_hz=rate_hz, num_steps=steps),
        face_jpeg=tuple(_picture(rng) for _ in range(steps)),
        face_box=np.tile(np.array([10, 10, 106, 106], dtype=np.float32), (steps, 1)),
        audio_rate_hz=AUDIO_RATE_HZ,
        pcm=(np.clip(wave, -1, 1) * 32767).astype(np.int16),
        speech=np.ones(steps, dtype=np.float32),
        words=(),
        words_source="none",
        physio_rate_hz=64.0,
        physio={},
        masks={"face": present, "voice": present.copy()},
        quality=Quality(
            duration_s=seconds,
            offset_s=0.0,
            drift_s_per_min=0.0,
            frame_rate_hz=rate_hz,
            frame_interval_cv=0.0,
            coverage={"face": 1.0, "voice": 1.0},
            speech_fraction=1.0,
        ),
    )


def window_of(clip: AlignedClip, first: int, steps: int) -> AlignedClip:
    """Steps `[first, first + steps)` of a clip, with their sound, as a clip of its own."""
    part = slice(first, first + steps)
    start, stop = (round(step / clip.grid.rate_hz * clip.audio_rate_hz) for step in (first, first + steps))
    return replace(
        clip,
        clip_id=f"{clip.clip_id}/{first}",
        grid=replace(clip.grid, num_steps=steps),
        face_jpeg=clip.face_jpeg[part],
        face_box=clip.face_box[part],
        pcm=clip.pcm[start:stop],
        speech=clip.speech[part],
        masks={name: mask[part] for name, mask in clip.masks.items()},
    )


def _picture(rng: np.random.Generator) -> bytes:
    """A soft random picture as JPEG, about as large as a face crop is."""
    coarse = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
