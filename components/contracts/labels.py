"""Canonical emotion names, and taxonomies that group them into classes.

Adapters map a corpus's own names (never its indices) to the *canonical* names below; a taxonomy maps canonical names
to the classes a model is trained on. The clip tables hold canonical names, so one table serves every taxonomy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.contracts.errors import ConfigError, DataError

# In place of a class index: no label, no loss, no score. It is the index that torch's cross-entropy ignores.
UNLABELLED = -100

CANONICAL: tuple[str, ...] = (
    "neutral",
    "calm",
    "happiness",
    "excitement",
    "amusement",
    "sadness",
    "anger",
    "frustration",
    "fear",
    "stress",
    "disgust",
    "contempt",
    "surprise",
    "boredom",
    "other",
)

# Other names of them: adjectives, short forms and synonyms in corpora and in the labels of published checkpoints.
ALIASES: Mapping[str, str] = {
    "neu": "neutral",
    "calmness": "calm",
    "hap": "happiness",
    "happy": "happiness",
    "joy": "happiness",
    "exc": "excitement",
    "excited": "excitement",
    "amused": "amusement",
    "sad": "sadness",
    "ang": "anger",
    "angry": "anger",
    "fru": "frustration",
    "frustrated": "frustration",
    "fea": "fear",
    "fearful": "fear",
    "stressed": "stress",
    "dis": "disgust",
    "disgusted": "disgust",
    "contemptuous": "contempt",
    "sur": "surprise",
    "surprised": "surprise",
    "bored": "boredom",
    "others": "other",
}


def canonical_of(name: str) -> str | None:
    """The canonical name behind a label in any capitals; None for one that is not known as an emotion."""
    plain = name.strip().lower()
    return plain if plain in CANONICAL else ALIASES.get(plain)


@dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """An ordered set of classes and the canonical names that fall into each; a name mapped to None is left out."""

    name: str
    classes: tuple[str, ...]
    merged: Mapping[str, str | None]

    def class_of(self, canonical: str) -> str | None:
        """The class of a canonical name, or None when this taxonomy leaves it out. Raises DataError if unknown."""
        if canonical not in CANONICAL:
            raise DataError.unknown("emotion name", canonical, CANONICAL)
        if canonical in self.classes:
            return canonical
        return self.merged[canonical]


# The eight expressions of the ABAW challenges. `calm` counts as neutral: the corpora that have it define it as
# "neutral with a slight positive valence", and no ABAW class is nearer.
ABAW8 = Taxonomy(
    name="abaw8",
    classes=("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other"),
    merged={
        "calm": "neutral",
        "excitement": "happiness",
        "amusement": "happiness",
        "frustration": "other",
        "stress": "other",
        "contempt": "other",
        "boredom": "other",
    },
)

# RAVDESS as its authors label it: `calm` is a separate class and there is no `other`.
RAVDESS8 = Taxonomy(
    name="ravdess8",
    classes=("neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"),
    merged={
        "excitement": "happiness",
        "amusement": "happiness",
        "frustration": None,
        "stress": None,
        "contempt": None,
        "boredom": None,
        "other": None,
    },
)

# The two sets of classes that papers on IEMOCAP report.
_NOT_IN_IEMOCAP = ("frustration", "fear", "stress", "disgust", "contempt", "surprise", "boredom", "other")
IEMOCAP4 = Taxonomy(
    name="iemocap4",
    classes=("neutral", "happiness", "sadness", "anger"),
    merged={
        "calm": "neutral",
        "excitement": "happiness",
        "amusement": "happiness",
        **dict.fromkeys(_NOT_IN_IEMOCAP),
    },
)
IEMOCAP6 = Taxonomy(
    name="iemocap6",
    classes=("neutral", "happiness", "excitement", "sadness", "anger", "frustration"),
    merged={"calm": "neutral", "amusement": "happiness", **dict.fromkeys(_NOT_IN_IEMOCAP[1:])},
)

TAXONOMIES: dict[str, Taxonomy] = {taxonomy.name: taxonomy for taxonomy in (ABAW8, RAVDESS8, IEMOCAP4, IEMOCAP6)}


def taxonomy(name: str) -> Taxonomy:
    """The taxonomy of that name. Raises ConfigError with the nearest name if there is none."""
    if name not in TAXONOMIES:
        raise ConfigError.unknown("taxonomy", name, TAXONOMIES, where="labels.taxonomy")
    return TAXONOMIES[name]
