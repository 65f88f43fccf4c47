"""Versions of registered models: what MLflow has of them, what is written to them, and the files that they hold.

Every function raises UnavailableError when MLflow cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.tracking.address import database
from components.tracking.client import Client, default_store
from components.tracking.errors import (
    AlreadyInMlflowError,
    DeniedError,
    MlflowRefusedError,
    NotInMlflowError,
    translated,
)
from components.tracking.file_store import version_numbers, version_of_alias, version_row

BUNDLE_TAG = "mer.bundle_sha256"
# On a version: who promoted it. MLflow itself keeps no user with an alias.
PROMOTED_BY = "promoted.by"
READY = "READY"
LOGGED_MODEL = "models:/"
# MLflow's column for a version's description.
MAX_DESCRIPTION = 5000
PAGE_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class VersionInfo:
    """One version of a registered model; `ready` when its upload was finished, `created_ms` since 1970."""

    name: str
    version: str
    tags: Mapping[str, str]
    source: str
    run_id: str | None = None
    description: str = ""
    ready: bool = True
    created_ms: int = 0

    @property
    def bundle_sha256(self) -> str | None:
        """The bundle that its tag names."""
        return self.tags.get(BUNDLE_TAG)


def resolve(name: str, alias: str, *, tracking_uri: str) -> VersionInfo | None:
    """The version that an alias names, or None when the model or the alias is not there."""
    if file := _file_of(tracking_uri):
        with suppress(LookupError):
            number = version_of_alias(file, name, alias)
            return None if number is None else version_info(name, number, tracking_uri=tracking_uri)
    return _ask(tracking_uri, name, lambda client: client.get_model_version_by_alias(name, alias))


def version_info(name: str, version: str, *, tracking_uri: str) -> VersionInfo | None:
    """One version by its number, or None when it is not there."""
    if (file := _file_of(tracking_uri)) and version.isdecimal():
        with suppress(LookupError):
            row = version_row(file, name, version)
            return None if row is None else VersionInfo(ready=row.pop("status") == READY, **row)
    return _ask(tracking_uri, name, lambda client: client.get_model_version(name, version))


def versions_of(name: str | None = None, *, tracking_uri: str) -> list[VersionInfo]:
    """All versions of a model, or of every model; of a model that is not there none."""
    if (file := _file_of(tracking_uri)) and name is not None:
        with suppress(LookupError):
            numbers = version_numbers(file, name)
            stored = [version_info(name, number, tracking_uri=tracking_uri) for number in numbers]
            return [version for version in stored if version is not None]
    client, versions, token = Client(tracking_uri), [], None
    only = None if name is None else f"name = '{name}'"
    while True:
        page = client.search_model_versions(only, max_results=PAGE_ROWS, page_token=token)
        versions += [_info(entry) for entry in page]
        token = page.token
        if not token:
            return versions


def _file_of(tracking_uri: str) -> Path | None:
    """The store where it is a file that is there; what is plain in it is read without MLflow (`file_store.py`)."""
    file = database(tracking_uri)
    return file if file is not None and file.is_file() else None


def registered_version(name: str, bundle_sha256: str, *, tracking_uri: str) -> str | None:
    """The newest version with this bundle that is ready, or None."""
    numbers = [
        int(version.version)
        for version in versions_of(name, tracking_uri=tracking_uri)
        if version.bundle_sha256 == bundle_sha256 and version.ready
    ]
    return str(max(numbers)) if numbers else None


def ensure_model(name: str, *, description: str, tracking_uri: str) -> None:
    """Makes the registered model unless it is there."""
    try:
        Client(tracking_uri).create_registered_model(name, description=description)
    except AlreadyInMlflowError:
        return


def add_version(
    folder: Path,
    *,
    name: str,
    run_id: str,
    bundle_sha256: str,
    tags: Mapping[str, str],
    description: str,
    tracking_uri: str,
) -> str:
    """Uploads a folder that MLflow can load as a model of a run, and registers it; returns the version's number."""
    client = Client(tracking_uri)
    mark = {BUNDLE_TAG: bundle_sha256}
    with default_store(tracking_uri):
        experiment = client.get_run(run_id).info.experiment_id
        logged = client.create_logged_model(experiment, name=name, source_run_id=run_id, model_type="mer", tags=mark)
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, READY)
        version = client.create_model_version(
            name,
            source=f"{LOGGED_MODEL}{logged.model_id}",
            run_id=run_id,
            model_id=logged.model_id,
            tags={**tags, **mark},
            description=description,
        )
    return str(version.version)


def copy_version(version: VersionInfo, name: str, *, tracking_uri: str) -> VersionInfo:
    """A version as one of a different registered model, with its tags and description, as the button *Promote model* of
    the MLflow UI makes it; an earlier copy with the same bundle is used again."""
    if version.bundle_sha256 and (number := registered_version(name, version.bundle_sha256, tracking_uri=tracking_uri)):
        copied = version_info(name, number, tracking_uri=tracking_uri)
        if copied is not None:
            return copied
    client = Client(tracking_uri)
    with default_store(tracking_uri):
        return _info(client.copy_model_version(f"{LOGGED_MODEL}{version.name}/{version.version}", name))


def add_to_version(path: Path, version: VersionInfo, *, tracking_uri: str) -> None:
    """Writes a file beside the model of a version, in the place of one of that name; nothing where the version was not
    made from a logged model."""
    if version.source.startswith(LOGGED_MODEL):
        Client(tracking_uri).log_model_artifact(version.source.removeprefix(LOGGED_MODEL), str(path))


def aliases_of(name: str, *, tracking_uri: str) -> dict[str, str]:
    """Alias → version number."""
    return {alias: str(version) for alias, version in Client(tracking_uri).get_registered_model(name).aliases.items()}


def set_alias(name: str, alias: str, version: str, *, tracking_uri: str) -> None:
    """Moves an alias to a version."""
    Client(tracking_uri).set_registered_model_alias(name, alias, version)


def remove_alias(name: str, alias: str, *, tracking_uri: str) -> None:
    """Takes an alias from the version that has it."""
    Client(tracking_uri).delete_registered_model_alias(name, alias)


def set_tags(name: str, version: str, tags: Mapping[str, str], *, tracking_uri: str) -> None:
    """Writes tags in their order: a reader of the last one finds those before it."""
    client = Client(tracking_uri)
    for tag, value in tags.items():
        client.set_model_version_tag(name, version, tag, value)


def tags_of_model(name: str, *, tracking_uri: str) -> dict[str, str]:
    """Tags of the registered model itself; none where there is no such model."""
    try:
        return dict(Client(tracking_uri).get_registered_model(name).tags)
    except NotInMlflowError:
        return {}


def tag_model(name: str, tags: Mapping[str, str], *, tracking_uri: str) -> None:
    """Writes tags of the registered model itself."""
    client = Client(tracking_uri)
    for tag, value in tags.items():
        client.set_registered_model_tag(name, tag, value)


def remove_tag(name: str, version: str, tag: str, *, tracking_uri: str) -> None:
    """Deletes a tag that is there."""
    Client(tracking_uri).delete_model_version_tag(name, version, tag)


def describe(name: str, version: str, text: str, *, tracking_uri: str) -> None:
    """Writes a version's description, cut at what MLflow's column holds."""
    Client(tracking_uri).update_model_version(name, version, text[:MAX_DESCRIPTION])


def download(name: str, version: str, path: str, *, into: Path, tracking_uri: str) -> Path:
    """A file or folder of a version: below `into`, or where a local artifact store has it."""
    import mlflow.artifacts

    root = Client(tracking_uri).get_model_version_download_uri(name, version)
    with translated(tracking_uri):
        return Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"{root.rstrip('/')}/{path}", dst_path=str(into), tracking_uri=tracking_uri
            )
        )


def _ask(tracking_uri: str, name: str, question: Callable[[Client], Any]) -> VersionInfo | None:
    client = Client(tracking_uri)
    try:
        return _info(question(client))
    except (NotInMlflowError, MlflowRefusedError):  # an alias that is not there is refused, not missing
        return None
    except DeniedError:
        # Behind a login MLflow denies what is asked about versions of a model that is not there. Asked for the model
        # itself it says so.
        try:
            client.get_registered_model(name)
        except NotInMlflowError:
            return None
        raise


def _info(entry: Any) -> VersionInfo:
    return VersionInfo(
        name=entry.name,
        version=str(entry.version),
        tags=dict(entry.tags),
        source=str(entry.source),
        run_id=entry.run_id or None,
        description=entry.description or "",
        ready=str(entry.status) == READY,
        created_ms=int(entry.creation_timestamp or 0),
    )
