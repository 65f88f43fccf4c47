"""The guarded children that the versions of one replica share: those that open media, and those that encode."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from pathlib import Path
from weakref import WeakValueDictionary

from components.alignment.guard import Guard
from components.contracts.codes import Code
from components.contracts.config import Alignment, MediaLimits
from components.contracts.errors import BundleError
from components.features.base import Encoded, Encoder, served_fingerprints
from components.features.guard import EncoderGuard
from components.features.registry import create
from components.registry.bundle import EncoderSpec


class ChildPool:
    """Guards by their settings, so that two versions with the same ones share a child, and a change between such
    versions loads nothing. What no version uses is released.

    Scoring must hold `lock`: a replica is meant to use one core.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.lock = threading.Lock()
        self._guards: WeakValueDictionary[tuple[object, ...], Guard] = WeakValueDictionary()
        self._encoders: WeakValueDictionary[tuple[object, ...], EncoderGuard] = WeakValueDictionary()
        self._last_read: tuple[list[weakref.ref[object]], tuple[object, ...], Mapping[str, Encoded]] | None = None

    def guard(self, config: Alignment, root: Path, *, only: Path | None = None) -> Guard:
        """The guard with these settings (see `Guard`); its child is being started, and ends when no version refers to
        the guard."""
        key = (config.model_dump_json(), root, only)
        guard = self._guards.get(key)
        if guard is None:
            guard = self._guards[key] = Guard(config, root, only=only)
        guard.start()
        return guard

    def encoders(
        self,
        specs: Mapping[str, EncoderSpec],
        classifiers: Mapping[str, EncoderSpec],
        limits: MediaLimits,
        expected: Collection[str] | None = None,
    ) -> EncoderGuard:
        """The guard of these encoders, by modality; its child is being started, as of `guard`. `expected` is that of
        `EncoderGuard`.

        Raises:
            BundleError: the encoder installed here is not the one that the bundle was made with.
            ConfigError, UnavailableError: as `components.features.registry.create`.
        """
        for modality, spec in (*specs.items(), *classifiers.items()):
            matching_encoder(modality, spec, self.device)
        encoders, experts = _named(specs), _named(classifiers)
        key = (*encoders.items(), None, *experts.items(), limits.model_dump_json(), expected and frozenset(expected))
        guard = self._encoders.get(key)
        if guard is None:
            guard = self._encoders[key] = EncoderGuard(encoders, experts, limits, device=self.device, expected=expected)
        guard.start()
        return guard

    def beside(self) -> ChildPool:
        """A pool with the same children, whose versions do not wait for the scoring of those here."""
        other = copy(self)
        other.lock = threading.Lock()
        return other

    def read_once(
        self, by: Sequence[object], key: tuple[object, ...], read: Callable[[], Mapping[str, Encoded]]
    ) -> Mapping[str, Encoded]:
        """The features of a clip that versions are tried with: as the last call gave them, if they are the same.

        Args:
            by: the children that read; this does not keep them.
            key: everything else that the features depend on.
            read: decodes and encodes the clip.
        """
        last = self._last_read
        if last is None or last[1] != key or [child() for child in last[0]] != list(by):
            last = self._last_read = ([weakref.ref(child) for child in by], key, read())
        return last[2]


def _named(specs: Mapping[str, EncoderSpec]) -> dict[str, str]:
    return {name: spec.spec for name, spec in sorted(specs.items())}


def matching_encoder(modality: str, expected: EncoderSpec, device: str = "cpu") -> Encoder:
    """The encoder of a bundle's description, weights not loaded; raises as `ChildPool.encoders`."""
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
