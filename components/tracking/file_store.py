"""Versions of a registered model, read from a store that is a file without importing MLflow, which takes seconds.

Only what MLflow's tables say plainly is read here. Whatever looks different (a table or column that is not there,
several workspaces) raises LookupError, and MLflow is asked.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

COLUMNS = "SELECT source, run_id, description, status, creation_time FROM model_versions "
THIS = "WHERE name = ? AND version = ?"
NOT_DELETED = " AND current_stage <> 'Deleted_Internal'"


def version_of_alias(file: Path, name: str, alias: str) -> str | None:
    """The number of the version that has an alias; None where none has it. Raises LookupError: see the module."""
    rows = _rows(file, "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name)
    numbers = [str(number) for stored, number in rows if str(stored).lower() == alias.lower()]
    if alias.lower() == "latest" or len(numbers) > 1:
        raise LookupError(alias)
    return numbers[0] if numbers else None


def version_numbers(file: Path, name: str) -> list[str]:
    """The numbers of a model's versions, the last changed first. Raises LookupError: see the module."""
    order = " ORDER BY last_updated_time DESC, version DESC"
    rows = _rows(file, f"SELECT version FROM model_versions WHERE name = ?{NOT_DELETED}{order}", name)
    return [str(number) for (number,) in rows]


def version_row(file: Path, name: str, version: str) -> dict[str, Any] | None:
    """Fields of a version as `VersionInfo` has them; None where there is no such version. Raises LookupError."""
    rows = _rows(file, COLUMNS + THIS + NOT_DELETED, name, int(version))
    if len(rows) > 1:
        raise LookupError(version)
    if not rows:
        return None
    source, run_id, description, status, created_ms = rows[0]
    tags = _rows(file, "SELECT key, value FROM model_version_tags " + THIS, name, int(version))
    return {
        "name": name,
        "version": str(int(version)),
        "tags": dict(tags),
        "source": str(source),
        "run_id": run_id or None,
        "description": description or "",
        "status": str(status),
        "created_ms": int(created_ms or 0),
    }


def _rows(file: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as store:
            return store.execute(query, values).fetchall()
    except sqlite3.Error as error:
        raise LookupError(str(file)) from error
