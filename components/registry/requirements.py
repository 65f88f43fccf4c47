"""What must be installed where the model is loaded: this environment's own versions, read and not guessed."""

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
        found = NAME.match(requirement)
        if found is None:
            continue
        try:
            pinned.append(f"{found.group()}=={importlib.metadata.version(found.group())}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return sorted(pinned)
