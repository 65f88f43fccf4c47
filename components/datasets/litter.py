"""What systems leave in folders beside what people put there: known by name, and never a part of a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

# Pattern of a file's or folder's name, in small letters → what such files are called in reports. The first that fits
# counts, so hidden files come last.
LITTER: Mapping[str, str] = {
    "._*": "AppleDouble (._*)",
    "__macosx": "__MACOSX",
    ".ds_store": "desktop files",
    "icon\r": "desktop files",
    "thumbs.db": "desktop files",
    "ehthumbs.db": "desktop files",
    "desktop.ini": "desktop files",
    "$recycle.bin": "desktop files",
    "system volume information": "desktop files",
    "@eadir": "desktop files",
    ".*": "hidden files",
}


def litter(name: str) -> str | None:
    """What a file or folder with this name is called in reports if it is litter, else None."""
    small = name.lower()
    return next((kind for pattern, kind in LITTER.items() if fnmatchcase(small, pattern)), None)
