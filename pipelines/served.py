"""The version under the rollout's alias, in a line: its number, and whom it was trained on."""

from __future__ import annotations

from pathlib import Path

from components.contracts.bundle_files import DESCRIPTION, read_bounded_json
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.registry import starter
from components.serving.answers.words import training_people
from components.tracking.versions import VersionInfo, resolve

UNKNOWN_PEOPLE = "not known whom it was trained on"


def served_line(params: Params, layout: Layout, *, uri: str) -> str | None:
    """Such as `mer version 2, trained on recordings of people (emodb)`; None while no version has the alias.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    name = params.served_model
    version = resolve(name, params.rollout.alias, tracking_uri=uri)
    if version is None:
        return None
    from_code = ", the starter that comes with mer" if starter.TAG in version.tags else ""
    return f"{name} version {version.version}{from_code}, {_people(version, layout)}"


def bundle_people(folder: Path) -> str:
    """Whom the version of a bundle was trained on; a folder that is not there or says nothing gives that."""
    if not (folder / DESCRIPTION).is_file():
        return UNKNOWN_PEOPLE
    value = read_bounded_json(folder / DESCRIPTION)
    before = value.get("started_from", {}).get("corpora", {})
    people = training_people({**before, **value.get("corpora", {})})
    return f"trained on {people}" if people else UNKNOWN_PEOPLE


def _people(version: VersionInfo, layout: Layout) -> str:
    """From the starter of this installation, or from the bundle that was made or fetched here."""
    if starter.TAG in version.tags and starter.is_there():
        return bundle_people(starter.BUNDLE)
    return bundle_people(layout.state / "bundles" / (version.bundle_sha256 or ""))
