"""What an adapter says of its corpus, beside what its module's docstring says of the layout: one record a corpus."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from components.contracts.config import Section

Access = Literal["open", "apply", "own", "rendered"]
ACCESS: Mapping[Access, str] = {
    "open": "openly downloadable",
    "apply": "on application",
    "own": "your own",
    "rendered": "rendered by this project",
}

ATTRIBUTE = re.compile(r"([a-z]\w*(?:, [a-z]\w*)*): (.*)")


@dataclass(frozen=True, kw_only=True)
class About:
    """What a person asks before using a corpus.

    Attributes:
        title: the corpus's own name.
        modalities: what it brings: face, voice, text, physio, or other names.
        access: whether it can simply be downloaded.
        how: how and where to get it, in a sentence or two.
        homepage, paper: where it is described.
        consent: what the people in it agreed to, written on every clip.
        labels: the corpus's name of an emotion → the canonical one.
        splits: the standard splits, and how to use them.
        known_bad: clips that are broken in every copy → what is wrong with them.
    """

    title: str = ""
    modalities: tuple[str, ...] = ()
    access: Access = "own"
    how: str = ""
    homepage: str = ""
    paper: str = ""
    consent: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    splits: str = "people are dealt to splits"
    known_bad: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Option:
    """A key of a dataset's section of params.yaml; `default` is None where the key must be there."""

    key: str
    default: str | None
    meaning: str


def layout_of(adapter: object) -> str:
    """The docstring of an adapter's module: what the corpus is and how its files are named."""
    return inspect.cleandoc(sys.modules[type(adapter).__module__].__doc__ or "")


def options_of(section: type[Section]) -> list[Option]:
    """The keys of a section with their defaults, and what the docstrings of the section and its bases say of them."""
    meanings: dict[str, str] = {}
    for one in reversed(section.__mro__):
        if issubclass(one, Section):
            meanings |= attributes_of(one.__doc__ or "")
    return [
        Option(key=key, default=_default(info), meaning=meanings.get(key, ""))
        for key, info in section.model_fields.items()
    ]


def _default(info: Any) -> str | None:
    return None if info.is_required() else plain(info.get_default(call_default_factory=True))


def plain(value: Any) -> str:
    """A value as one writes it in params.yaml."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(plain, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {plain(one)}' for key, one in value.items())}}}"
    return str(value) if value != "" else '""'


def attributes_of(docstring: str) -> dict[str, str]:
    """Name → meaning of the paragraph `Attributes:` of a docstring; several names may share a line."""
    text = inspect.cleandoc(docstring)
    if "Attributes:\n" not in text:
        return {}
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.split("Attributes:\n", 1)[1].split("\n"):
        if not line.startswith("    "):
            break
        entry = ATTRIBUTE.fullmatch(line.strip()) if not line.startswith("     ") else None
        if entry is not None:
            names = entry.group(1).split(", ")
            found |= dict.fromkeys(names, entry.group(2))
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
