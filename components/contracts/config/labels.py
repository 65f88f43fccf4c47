"""The section `labels`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from components.contracts.config.base import Section
from components.contracts.errors import ConfigError
from components.contracts.labels import TAXONOMIES, WHERE, Taxonomy, taxonomy

Named = Annotated[str, Field(json_schema_extra={"enum": list(TAXONOMIES)})]


class Labels(Section):
    """Which classes are learned; see `contracts/labels.py`."""

    taxonomy: Named | Mapping[str, tuple[str, ...]] = "abaw8"
    """The classes, and which emotion names of the corpora fall into each: abaw8 (the expressions of the ABAW
    challenges), ravdess8 (with calm, without other), iemocap4 or iemocap6 (the two sets that IEMOCAP is reported in).
    Or classes of one's own, each with the labels that fall into it beside those of its own name:
    `{positive: [happiness, froh], negative: [anger, sadness]}`. Clips whose emotion is in none of the classes are
    left out."""

    left_out: tuple[str, ...] = ()
    """Labels of the corpora that are known and in none of one's own classes. Other names that are not canonical go to
    quarantine."""

    @field_validator("taxonomy", mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            if isinstance(value, str):
                taxonomy(value)
            return value
        groups = {}
        for name, labels in value.items():
            several = labels if isinstance(labels, list | tuple) else () if labels is None else (labels,)
            for text in (name, *several):
                if isinstance(text, bool) or not isinstance(text, str | int):
                    raise ConfigError(
                        "a class or a label is not a text",
                        where=WHERE,
                        seen=repr(text),
                        remedy="Write it in quotes: YAML reads yes, no, on, off and null without them as other values",
                    )
            groups[str(name)] = tuple(map(str, several))
        return groups

    @model_validator(mode="after")
    def _consistent(self) -> Labels:
        if self.left_out and isinstance(self.taxonomy, str):
            raise ValueError("left_out belongs to classes of one's own; a taxonomy with a name leaves out what it does")
        _ = self.resolved
        return self

    @property
    def resolved(self) -> Taxonomy:
        """The taxonomy itself."""
        return taxonomy(self.taxonomy) if isinstance(self.taxonomy, str) else Taxonomy.of(self.taxonomy, self.left_out)
