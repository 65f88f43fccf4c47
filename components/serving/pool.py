"""The objects that versions share in a process: frozen encoders, and the guarded children that open media."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np

from components.alignment.guard import Guard
from components.contracts.codes import Code
from components.contracts.config import Alignment
from components.contracts.errors import BundleError
from components.contracts.records import AlignedClip, Quality, Word
from components.contracts.timebase import Grid
from components.features.base import Encoder, served_fingerprints
from components.features.registry import create
from components.registry.bundle import EncoderSpec

WARM_STEPS = 10
WARM_CROP_PX = 96


class EncoderPool:
    """Loaded encoders by (modality, fingerprint) and guards by their settings, so that two versions with the same ones
    load them once and a change between such versions loads nothing. Objects that no version uses are released.

    Encoding must hold `lock`: not all libraries below are thread-safe, and a replica is meant to use one core anyway.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.lock = threading.Lock()
        self._loaded: WeakValueDictionary[tuple[str, str], Encoder] = WeakValueDictionary()
        self._guards: WeakValueDictionary[tuple[object, ...], Guard] = WeakValueDictionary()

    def guard(self, config: Alignment, root: Path, *, wall_s: float | None) -> Guard:
        """The guard with these settings; its child is being started and ends when no version refers to the guard."""
        key = (config.model_dump_json(), root, wall_s)
        guard = self._guards.get(key)
        if guard is None:
            guard = self._guards[key] = Guard(config, root, wall_s=wall_s)
        guard.start()
        return guard

    def load(self, specs: Mapping[str, EncoderSpec]) -> dict[str, Encoder]:
        """The encoders by modality, created and warmed where they were not loaded.

        Raises:
            BundleError: the encoder installed here is not the one that the bundle was made with.
            ConfigError, UnavailableError: as `components.features.registry.create`.
        """
        return {modality: self._load(modality, spec) for modality, spec in specs.items()}

    def _load(self, modality: str, spec: EncoderSpec) -> Encoder:
        loaded = self._loaded.get((modality, spec.fingerprint))
        if loaded is not None:
            return loaded
        encoder = matching_encoder(modality, spec, self.device)
        with self.lock:
            encoder.encode([_warm_clip()])
        self._loaded[modality, spec.fingerprint] = encoder
        return encoder


def matching_encoder(modality: str, expected: EncoderSpec, device: str = "cpu") -> Encoder:
    """The encoder of a bundle's description, weights not loaded; raises as `EncoderPool.load`."""
    encoder = create(expected.spec, modality, device)
    if expected.fingerprint not in served_fingerprints(encoder) or encoder.width != expected.width:
        raise BundleError(
            "the encoder installed here is not the one this version was trained with",
            where=f"encoder of {modality}: {expected.spec}",
            seen=f"{encoder.fingerprint[:12]}, width {encoder.width}",
            allowed=f"{expected.fingerprint[:12]}, width {expected.width}",
            remedy="Serve it with the code and weights it was trained with, or train again.",
            code=Code.ENCODER_MISMATCH,
        )
    return encoder


def _warm_clip() -> AlignedClip:
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
