"""A classifier that comes with a frozen encoder: which emotions it distinguishes, and what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.contracts.labels import Taxonomy

# What cannot tell at least two classes apart has no opinion on an emotion.
MIN_CLASSES = 2


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A classifier.

    Attributes:
        labels: the canonical emotion of each score; None for a label that is not one.
        temperature: by which its scores are divided before softmax, so that its confidence can be taken literally.
        trained_on: the data that it was trained on, in words.
    """

    labels: tuple[str | None, ...]
    temperature: float
    trained_on: str

    def classes(self, taxonomy: Taxonomy) -> tuple[str | None, ...]:
        """The class of each score; None where the taxonomy leaves the label out."""
        return tuple(None if label is None else taxonomy.class_of(label) for label in self.labels)

    def is_useful(self, taxonomy: Taxonomy) -> bool:
        """Whether it tells at least two classes of a taxonomy apart."""
        return len(set(self.classes(taxonomy)) - {None}) >= MIN_CLASSES

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Pretrained:
        """From `to_json`'s value; raises KeyError, TypeError or ValueError when it is not one."""
        temperature = float(value["temperature"])
        if not 0 < temperature < float("inf"):
            raise ValueError(f"a temperature must be positive, not {temperature}")
        return cls(
            labels=tuple(None if label is None else str(label) for label in value["labels"]),
            temperature=temperature,
            trained_on=str(value["trained_on"]),
        )
