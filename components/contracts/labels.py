"""Canonical emotion names, and taxonomies that group them into classes.

Adapters map a corpus's own names (never its indices) to the *canonical* names below; a taxonomy maps canonical names
to the classes a model is trained on. The clip tables hold canonical names, so one table serves every taxonomy. In
`labels.taxonomy` one may map labels of one's own too; the tables then hold those as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.contracts.errors import ConfigError, DataError, nearest

# In place of a class index: no label, no loss, no score. It is the index that torch's cross-entropy ignores.
UNLABELLED = -100
# The name of a taxonomy that `params.yaml` writes out, and where it does.
OWN, WHERE = "own", "labels.taxonomy"

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
    plain = _plain(name)
    return plain if plain in CANONICAL else ALIASES.get(plain)


def _plain(name: str) -> str:
    return " ".join(name.split()).lower()


@dataclass(frozen=True, kw_only=True)
class Taxonomy:
    """An ordered set of classes and the names of emotions that fall into each; a name mapped to None is left out.

    One of one's own need not name every canonical name; those that it does not are left out.
    """

    name: str
    classes: tuple[str, ...]
    merged: Mapping[str, str | None]

    @classmethod
    def of(cls, groups: Mapping[str, Iterable[str]], left_out: Iterable[str] = ()) -> Taxonomy:
        """One's own: class → the labels that fall into it beside those of its own name, in any capitals. A label with a
        canonical name stands for that name wherever it is not mapped itself.

        Raises:
            ConfigError: fewer than two classes, or a label that is to fall into two.
        """
        classes = tuple(sorted(groups))
        if len(classes) < 2:
            raise ConfigError("a taxonomy needs two classes", where=WHERE, seen=", ".join(classes) or "none")
        merged: dict[str, str | None] = {}
        pairs = [(label, name) for name in classes for label in (name, *groups[name])]
        for label, class_name in [*pairs, *((label, None) for label in left_out)]:
            if merged.setdefault(_plain(label), class_name) != class_name:
                raise ConfigError(
                    f"the label {label!r} is in two places",
                    where=WHERE,
                    seen=f"{merged[_plain(label)]}, {class_name or 'labels.left_out'}",
                    allowed="each label once",
                )
        for label, class_or_none in list(merged.items()):
            if (canonical := canonical_of(label)) is not None:
                merged.setdefault(canonical, class_or_none)
        return cls(name=OWN, classes=classes, merged=merged)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clip tables may hold: canonical ones, and those of a taxonomy of one's own."""
        return tuple(dict.fromkeys([*CANONICAL, *self.merged]))

    def name_of(self, label: str) -> str | None:
        """The name under which a label is known, in any capitals; None for an unknown one."""
        plain = _plain(label)
        return plain if plain in self.merged else canonical_of(plain)

    def class_of(self, name: str) -> str | None:
        """The class of one of `names`, or None when this taxonomy leaves it out. Raises DataError if unknown."""
        if name in self.merged:
            return self.merged[name]
        if name not in CANONICAL:
            raise DataError.unknown("emotion name", name, self.names)
        return name if name in self.classes else None

    def remedy(self, label: str) -> str:
        """What to do about an unknown label: the nearest known one, and how to map it."""
        mapping = f"Map it: `labels: {{taxonomy: {{CLASS: [{label}, …]}}}}`, or to a known name where the adapter can"
        return " ".join(part for part in (nearest(label, self.names), mapping) if part)

    def to_json(self) -> str | dict[str, Any]:
        """The name of one of the project's; one's own as a JSON object, so that who reads it needs no configuration."""
        return self.name if self.name in TAXONOMIES else {**asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, value: str | Mapping[str, Any]) -> Taxonomy:
        """From `to_json`'s value. Raises ConfigError for an unknown name, KeyError or TypeError for another value."""
        if isinstance(value, str):
            return taxonomy(value)
        merged = {str(name): None if own is None else str(own) for name, own in value["merged"].items()}
        return cls(name=str(value["name"]), classes=tuple(map(str, value["classes"])), merged=merged)


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
    """The project's taxonomy of that name. Raises ConfigError with the nearest name if there is none."""
    if name not in TAXONOMIES:
        raise ConfigError.unknown("taxonomy", name, TAXONOMIES, where=WHERE)
    return TAXONOMIES[name]
