"""Marks versions that were made with people who have withdrawn: tags and a line on top of the description, in MLflow.

    withdrawn.subjects   who, as the hashes that the version's own list has for them
    withdrawn.splits     what they were used for: train, calibration, test
    withdrawn.at         the day of the last withdrawal

Nothing else about a version changes. The rollout refuses to begin serving a marked version until somebody sets the tag
`withdrawn.accepted_by` on it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from components.contracts.atomic import read_json
from components.contracts.errors import UnavailableError
from components.registry.register import MAX_DESCRIPTION
from components.registry.subjects import FOLDER, NAME, found_in

SUBJECTS_TAG, SPLITS_TAG, AT_TAG = "withdrawn.subjects", "withdrawn.splits", "withdrawn.at"
ACCEPTED_TAG = "withdrawn.accepted_by"
HEAD = "> **Withdrawn:**"


@dataclass(frozen=True, kw_only=True)
class Concerned:
    """A version that knows some of the people: `people` has hash → splits, `tags` are the version's as they were."""

    name: str
    version: str
    people: Mapping[str, tuple[str, ...]]
    tags: Mapping[str, str]
    description: str

    @property
    def marked(self) -> bool:
        """Whether its tags say so already."""
        return set(self.people) <= set(_listed(self.tags))


@dataclass(frozen=True, kw_only=True)
class Search:
    """What was found in a registry: the versions that know them, and those that say nothing of who they know."""

    concerned: tuple[Concerned, ...]
    silent: tuple[str, ...]


def log_subjects(listed: Mapping[str, Any], *, run_id: str, tracking_uri: str) -> None:
    """Writes a version's list to its run; doing it again replaces it."""
    from mlflow import MlflowClient

    MlflowClient(tracking_uri).log_dict(run_id, dict(listed), f"{FOLDER}/{NAME}")


def search(subject_ids: Collection[str], *, tracking_uri: str) -> Search:
    """The versions of every registered model that were made with one of these people.

    Raises:
        UnavailableError: MLflow or its artifacts cannot be reached.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    concerned, silent = [], []
    lists: dict[str, Any] = {}
    try:
        client = MlflowClient(tracking_uri)
        for version in _versions(client):
            if version.run_id not in lists:
                lists[version.run_id] = _list_of(client, version.run_id)
            listed = lists[version.run_id]
            if listed is None:
                silent.append(f"{version.name} {version.version}")
            elif people := found_in(listed, subject_ids):
                concerned.append(
                    Concerned(
                        name=version.name,
                        version=str(version.version),
                        people=people,
                        tags=dict(version.tags),
                        description=version.description or "",
                    )
                )
    except (MlflowException, OSError) as error:
        raise _unavailable(tracking_uri, error) from error
    return Search(
        concerned=tuple(sorted(concerned, key=lambda one: (one.name, int(one.version)))), silent=tuple(sorted(silent))
    )


def mark(concerned: Concerned, *, day: date, tracking_uri: str) -> None:
    """Writes tags and line, unless they stand there already. Raises UnavailableError as `search`."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if concerned.marked:
        return
    people = sorted({*_listed(concerned.tags), *concerned.people})
    used = {name for splits in concerned.people.values() for name in splits}
    splits = sorted({*filter(None, concerned.tags.get(SPLITS_TAG, "").split(",")), *used})
    tags = {SPLITS_TAG: ",".join(splits), AT_TAG: day.isoformat(), SUBJECTS_TAG: ",".join(people)}
    try:
        client = MlflowClient(tracking_uri)
        text = _described(concerned.description, len(people), splits, day)
        client.update_model_version(concerned.name, concerned.version, text)
        for name, value in tags.items():  # the list last: whoever finds it finds the rest
            client.set_model_version_tag(concerned.name, concerned.version, name, value)
    except (MlflowException, OSError) as error:
        raise _unavailable(tracking_uri, error) from error


def _listed(tags: Mapping[str, str]) -> list[str]:
    return [one for one in tags.get(SUBJECTS_TAG, "").split(",") if one]


def _described(before: str, people: int, splits: Collection[str], day: date) -> str:
    card = before.partition("\n\n")[2] if before.startswith(HEAD) else before
    line = (
        f"{HEAD} {people} of the people whose recordings this version was made with ({', '.join(splits)}) took their "
        f"consent back, the last on {day.isoformat()}. Train again without them, and do not roll this version out."
    )
    return f"{line}\n\n{card}"[:MAX_DESCRIPTION]


def _versions(client: Any) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_model_versions(max_results=200, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _list_of(client: Any, run_id: str | None) -> Any:
    """A run's list, or None where there is none."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if f"{FOLDER}/{NAME}" not in {file.path for file in client.list_artifacts(run_id, FOLDER)}:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return read_json(Path(client.download_artifacts(run_id, f"{FOLDER}/{NAME}", scratch)))


def _unavailable(tracking_uri: str, error: Exception) -> UnavailableError:
    text = str(error).splitlines()
    return UnavailableError(
        "cannot reach MLflow",
        where=tracking_uri,
        seen=text[0] if text else type(error).__name__,
        remedy="`make serve` starts it, or set MLFLOW_TRACKING_URI.",
    )
