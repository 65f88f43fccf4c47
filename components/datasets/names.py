"""One spelling per name. Tables and disks write one name in many ways that look alike: `é` as one character or as two,
with a zero-width space from a web page, with blanks around it, and a person called 7 as `7.0` where a spreadsheet took
the column for numbers. Whoever has two spellings would count as two people, and could be in two splits.

Nothing that distinguishes names for a reader is changed: capital letters, leading zeros and inner blanks count.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.contracts.records import Clip
from components.datasets.base import Adapter, Scan

# The characters without a width that texts contain: soft hyphen, joiners, direction marks, variation selectors, the
# byte order mark (Unicode: Default_Ignorable_Code_Point, without the fillers that have a width).
ZERO_WIDTH = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
WHOLE_NUMBER = re.compile(r"([+-]?[0-9]+)\.0+")


def one_spelling(text: str) -> str:
    """A text in Unicode's composed form (NFC, UAX 15), without zero-width characters, with single blanks inside and
    none around it."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", ZERO_WIDTH.sub("", text))
    return " ".join(text.split())


def name_of(value: object) -> str:
    """The name that a cell or a folder stands for; whole numbers are written without decimals."""
    text = one_spelling(str(value))
    whole = WHOLE_NUMBER.fullmatch(text)
    return whole.group(1) if whole else text


def names_of(mapping: Mapping[str, str]) -> dict[str, str]:
    """A mapping from names, such as `emotions:` of a section, by one spelling of each."""
    return {name_of(name): value for name, value in mapping.items()}


def person_of(subject_id: str) -> str:
    """A subject or session id, `<dataset>/<name>`, in one spelling of each part."""
    return "/".join(name_of(part) for part in subject_id.split("/"))


def spellings(name: str) -> tuple[str, ...]:
    """Ways in which a name may be recorded that was written before names had one spelling; the name itself first."""
    decimal = f"{name}.0" if name.rpartition("/")[2].isdecimal() else name
    return tuple(dict.fromkeys((name, unicodedata.normalize("NFD", name), decimal)))


def scan_of(adapter: Adapter[Any], options: Any, root: Path, seed: int) -> Scan:
    """`adapter.scan` with one spelling per name, and ids that begin with the dataset's name. Raises as it does."""
    scan = _called(adapter.scan(options, root, seed), adapter)
    people = {_path(clip_id): tuple(name_of(name) for name in names) for clip_id, names in scan.people.items()}
    return replace(scan, clips=[_spelled(clip) for clip in scan.clips], people=people)


def _called(scan: Scan, adapter: Adapter[Any]) -> Scan:
    """A scan whose ids begin with the dataset's name instead of the adapter's."""
    if adapter.name == adapter.kind:
        return scan

    def named(identifier: str) -> str:
        first, slash, rest = identifier.partition("/")
        return f"{adapter.name}{slash}{rest}" if first == adapter.kind else identifier

    def clip_named(clip: Clip) -> Clip:
        text_id = clip.text_id and named(clip.text_id)
        if text_id and not text_id.startswith(f"{adapter.name}/"):
            text_id = f"{adapter.name}/{text_id}"
        return replace(
            clip,
            dataset=adapter.name,
            clip_id=named(clip.clip_id),
            subject_id=named(clip.subject_id),
            session_id=named(clip.session_id),
            text_id=text_id,
        )

    return replace(
        scan,
        clips=[clip_named(clip) for clip in scan.clips],
        quarantined=[replace(row, dataset=adapter.name, clip_id=named(row.clip_id)) for row in scan.quarantined],
        people={named(clip_id): names for clip_id, names in scan.people.items()},
    )


class DiskNames:
    """Finds files that a table names, in whatever spelling the disk has. A folder is listed at most once."""

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, list[str]]] = {}

    def path(self, folder: Path, named: str) -> str:
        """`named`, relative to `folder`, as the disk spells it; as it is if there is no such file, or several."""
        if os.path.lexists(os.path.join(folder, named)):
            return named
        place, parts = str(folder), []
        for part in named.split("/"):
            exact = part in ("", ".", "..") or os.path.lexists(os.path.join(place, part))
            spelled = [part] if exact else self._names(place).get(one_spelling(part), [])
            if len(spelled) != 1:
                return named
            parts.append(spelled[0])
            place = os.path.join(place, spelled[0])
        return "/".join(parts)

    def _names(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                for entry in os.listdir(folder):
                    names.setdefault(one_spelling(entry), []).append(entry)
            except (OSError, ValueError):
                names = {}
            self._listed[folder] = names
        return self._listed[folder]


def _spelled(clip: Clip) -> Clip:
    """The clip with one spelling of its id, its people, its labels and its groups."""
    segments = tuple(replace(segment, emotion=name_of(segment.emotion)) for segment in clip.segments)
    changed = replace(
        clip,
        clip_id=_path(clip.clip_id),
        subject_id=person_of(clip.subject_id),
        session_id=person_of(clip.session_id),
        emotion=None if clip.emotion is None else name_of(clip.emotion),
        segments=segments,
        text_id=None if clip.text_id is None else name_of(clip.text_id),
        split=None if clip.split is None else name_of(clip.split),
        groups={name_of(group): name_of(value) for group, value in clip.groups.items()},
    )
    return clip if changed == clip else changed


def _path(name: str) -> str:
    """An id that is made of a path: two files of one name in two folders stay two."""
    return "/".join(one_spelling(part) for part in name.split("/"))
