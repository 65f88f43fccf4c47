"""The packages that loading the model requires, with the versions of this environment."""

from __future__ import annotations

import importlib.metadata
import re

PROJECT = "mer"
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def pinned_requirements() -> list[str]:
    """`name==version` of every direct dependency of the project, sorted. The project itself comes with its checkout."""
    pinned = []
    for requirement in importlib.metadata.requires(PROJECT) or []:
        if "extra ==" in requirement:
            continue
        match = NAME.match(requirement)
        if match is None:
            continue
        try:
            pinned.append(f"{match.group()}=={importlib.metadata.version(match.group())}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return sorted(pinned)
