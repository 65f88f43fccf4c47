"""Facts about a corpus that its files do not contain: access, paper, labels, splits; one `About` per adapter.

The layout of the files is described in the docstring of the adapter's module.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic.fields import FieldInfo

from components.contracts.config import Section, meaning

Access = Literal["open", "apply", "own", "rendered"]
ACCESS: Mapping[Access, str] = {
    "open": "openly downloadable",
    "apply": "on application",
    "own": "your own",
    "rendered": "rendered by this project",
}


@dataclass(frozen=True, kw_only=True)
class About:
    """What one needs to know before using a corpus.

    Attributes:
        title: the corpus's own name.
        modalities: what it contains: face, voice, text, physio, or other names.
        access: whether it can be downloaded freely.
        how: how and where to get it, in a sentence or two.
        homepage, paper: where it is described.
        consent: what the people in it agreed to, written on every clip.
        labels: the corpus's name of an emotion → the canonical name.
        splits: the standard splits, and how to use them.
        known_bad: clips that are broken in every copy → the defect.
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
    """A key of a dataset's section of params.yaml; `default` is None where the key is required."""

    key: str
    default: str | None
    meaning: str


def layout_of(adapter: object) -> str:
    """The docstring of an adapter's module: what the corpus is and how its files are named."""
    return inspect.cleandoc(sys.modules[type(adapter).__module__].__doc__ or "")


def options_of(section: type[Section]) -> list[Option]:
    """The keys of a section with their defaults and meanings."""
    return [
        Option(key=key, default=_default(info), meaning=meaning(info)) for key, info in section.model_fields.items()
    ]


def _default(info: FieldInfo) -> str | None:
    return None if info.is_required() else plain(info.get_default(call_default_factory=True))


def plain(value: Any) -> str:
    """A value as it is written in params.yaml."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(plain, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {plain(item)}' for key, item in value.items())}}}"
    return str(value) if value != "" else '""'
