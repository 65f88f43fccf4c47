"""The section `labels`."""

from __future__ import annotations

from pydantic import Field, field_validator

from components.contracts.config.base import Section
from components.contracts.labels import TAXONOMIES, Taxonomy, taxonomy


class Labels(Section):
    """Which classes are learned; see `contracts/labels.py`."""

    taxonomy: str = Field("abaw8", json_schema_extra={"enum": list(TAXONOMIES)})
    """The classes, and which emotion names of the corpora fall into each: abaw8 (the expressions of the ABAW
    challenges), ravdess8 (with calm, without other), iemocap4 or iemocap6 (the two sets that IEMOCAP is reported in).
    Clips whose emotion is in none of the classes are left out."""

    @field_validator("taxonomy")
    @classmethod
    def _known(cls, name: str) -> str:
        taxonomy(name)
        return name

    @property
    def resolved(self) -> Taxonomy:
        """The taxonomy itself."""
        return taxonomy(self.taxonomy)
