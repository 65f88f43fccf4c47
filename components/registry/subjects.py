"""The people a version was made with, as an anonymous list: salted hashes of subject ids, by split.

The list is an artifact of the version's run. When a person withdraws, it identifies the versions made with their
recordings (`marking.py`); it has no other use, so neither the bundle nor the catalog's description contains it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from components.datasets.withdrawn import salted_sha256

SUBJECTS = "lineage/subjects.json"
SHOWN_HEX = 12


def list_subjects(people: Iterable[Mapping[str, Any]], *, salt: str) -> dict[str, Any]:
    """The content of the artifact.

    Args:
        people: rows of the catalog, with `subject_id` and `split`.
        salt: the catalog's hash, so that equal catalogs give equal lists and different ones cannot be compared.
    """
    splits: dict[str, set[str]] = defaultdict(set)
    for row in people:
        splits[row["split"]].add(salted_sha256(salt, row["subject_id"]))
    return {"salt": salt, "splits": {name: sorted(hashes) for name, hashes in sorted(splits.items())}}


def splits_by_person(listed: Mapping[str, Any], subject_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The people among `subject_ids` who are in a list: the beginning of their hash → the splits they are in."""
    splits_of = {}
    for subject_id in sorted(set(subject_ids)):
        digest = salted_sha256(listed["salt"], subject_id)
        splits = tuple(name for name, hashes in listed["splits"].items() if digest in hashes)
        if splits:
            splits_of[digest[:SHOWN_HEX]] = splits
    return splits_of
