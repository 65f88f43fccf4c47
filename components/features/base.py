"""What every encoder is: aligned clips in, one feature vector a step out.

An encoder looks at one modality of a clip and gives `(T, D)` values on the clip's own grid with a mask. It encodes each
clip *on its own*: the numbers of a clip do not depend on the clips it is batched with, which is what makes the online
answer equal to the offline one. Loading weights waits for the first `encode`, so naming an encoder costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import DataError
from components.contracts.pretrained import Pretrained
from components.contracts.records import AlignedClip


@dataclass(frozen=True)
class Encoded:
    """One modality of one clip: `values` (T, D) float32 and `valid` (T,) bool; values of invalid steps are zero."""

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.valid.shape != self.values.shape[:1]:
            raise DataError(
                "values and mask do not fit together",
                seen=f"values {self.values.shape}, valid {self.valid.shape}",
                allowed="values (T, D), valid (T,)",
            )


class Encoder(Protocol):
    """A frozen encoder of one modality.

    Attributes:
        modality: face, voice, text or physio.
        name: the spec it was created from.
        width: D, the number of features per step.
        fingerprint: SHA-256 over everything that changes its numbers: spec, version of its code, weights, settings.

    An encoder whose present version differs from earlier ones for unusual input alone may list the fingerprints of
    those as `earlier_fingerprints`: see `served_fingerprints`.
    """

    @property
    def modality(self) -> str:
        """The modality it reads."""

    @property
    def name(self) -> str:
        """The spec it was created from."""

    @property
    def width(self) -> int:
        """Features per step."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes its numbers."""

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """One `Encoded` per clip, in order, on each clip's grid."""


@runtime_checkable
class Classifying(Protocol):
    """An encoder that still has the classifier of emotions that it was trained with."""

    @property
    def pretrained(self) -> Pretrained | None:
        """What the classifier distinguishes; None for a checkpoint without one."""

    def classify(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """Its scores before softmax (T, labels) per clip, in order, valid where `encode` is."""


def pretrained_of(encoder: Encoder) -> Pretrained | None:
    """What the encoder's own classifier distinguishes, if it has one."""
    return encoder.pretrained if isinstance(encoder, Classifying) else None


def served_fingerprints(encoder: Encoder) -> frozenset[str]:
    """The fingerprints of the versions of an encoder that give the same numbers for ordinary input as this one does: a
    model that was trained with one of them is served."""
    return frozenset({encoder.fingerprint, *getattr(encoder, "earlier_fingerprints", ())})


def empty(num_steps: int, width: int) -> Encoded:
    """A clip that has nothing of this modality."""
    return Encoded(np.zeros((num_steps, width), dtype=np.float32), np.zeros(num_steps, dtype=bool))


def masked(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Encoded:
    """Values with their invalid steps set to zero, so that equal content has equal bytes."""
    return Encoded(np.where(valid[:, None], values, np.float32(0)).astype(np.float32, copy=False), valid.copy())


def mask_of(clip: AlignedClip, modality: str) -> NDArray[np.bool_]:
    """The clip's mask of a modality; all False where the clip does not have it."""
    mask = clip.masks.get(modality)
    return np.zeros(clip.grid.num_steps, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
