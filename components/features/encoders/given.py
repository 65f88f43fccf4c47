"""The encoder of what needs none: features that a clip brings ready-made, passed on as alignment placed them."""

from __future__ import annotations

from collections.abc import Sequence

from components.contracts.errors import ConfigError, DataError
from components.contracts.fingerprint import fingerprint
from components.contracts.records import AlignedClip
from components.features.base import Encoded, empty, mask_of, masked

GIVEN = "given"
VERSION = 1


class Given:
    """One modality as the corpus brought it, D numbers per step. A clip that brings nothing of it, such as an upload of
    media, does not have it.

    `name` is `given:<width>`, which is all that identifies it.
    """

    def __init__(self, modality: str, width: int) -> None:
        self.modality = modality
        self.width = width
        self.name = f"{GIVEN}:{width}"
        self.fingerprint = fingerprint({"spec": self.name, "modality": modality, "version": VERSION})

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """See `Encoder.encode`. Raises DataError if a clip's features have a different width."""
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        values = clip.given.get(self.modality)
        if values is None:
            return empty(clip.grid.num_steps, self.width)
        if values.shape[1] != self.width:
            raise DataError(
                "the given features have a different width",
                where=f"{clip.clip_id}: {self.modality}",
                seen=values.shape[1],
                allowed=self.width,
            )
        return masked(values, mask_of(clip, self.modality))


def is_given(spec: str) -> bool:
    """Whether an encoder's spec stands for ready-made features."""
    return spec.partition(":")[0] == GIVEN


def from_spec(spec: str, modality: str) -> Given:
    """The encoder of `given:<width>`. Raises ConfigError if that is not a width."""
    width = spec.partition(":")[2]
    if not width.isdecimal() or int(width) < 1:
        raise ConfigError("bad encoder", where=modality, seen=spec, allowed=f"{GIVEN}:<width>")
    return Given(modality, int(width))
