"""The facts of a decision, read from the project, DVC's lock and cache, and MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.registry.evidence import GATES_TAG
from components.registry.marking import ACCEPTED_TAG, SUBJECTS_TAG
from components.tracking.address import exists, tracking_uri
from components.tracking.versions import VersionInfo, resolve, versions_of
from pipelines import dag, inputs
from pipelines.retraining.changes import name_changes, reader_of_cache
from pipelines.retraining.decide import Cause, Decision, Evidence, RetrainFacts, TrainedVersion, decide, utc

LOCK = "dvc.lock"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where PyYAML was built with libyaml, ten times faster
# On the served version, by whoever watches the service: `mer retrain --report-drift`, or by hand in MLflow.
DRIFT_TAG, DRIFT_AT_TAG = "drift.reason", "drift.at"


def decision_of(layout: Layout, params: Params, *, asked_by: str | None = None) -> Decision:
    """The decision about a project as it is; with `asked_by`, who wants a training in any case. Raises as `gather`."""
    decision = decide(gather(layout, params))
    if asked_by is None:
        return decision
    return Decision(kind="retrain", causes=(Evidence(cause=Cause.ASKED, what=f"by {asked_by}"), *decision.causes))


def gather(layout: Layout, params: Params) -> RetrainFacts:
    """Reads the facts; refreshes `data/inputs`. Takes seconds, and needs no output of a stage but `data/inputs`.

    Raises:
        ConfigError: `dvc.yaml` cannot be resolved.
        UnavailableError: MLflow cannot be reached.
    """
    champion, successor = _versions(layout, params)
    changes = _changes(layout, params)
    return RetrainFacts(
        now=datetime.now(UTC),
        changes=(*changes, *(_drift(layout, params) if changes else ())),
        champion=champion,
        successor=successor,
        max_age_days=params.retrain.max_age_days,
    )


def read_lock(root: Path) -> dict[str, Any]:
    """The stages of `dvc.lock`; empty where there is none."""
    path = root / LOCK
    if not path.is_file():
        return {}
    return (yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER) or {}).get("stages") or {}


def _changes(layout: Layout, params: Params) -> tuple[Evidence, ...]:
    inputs.write(params, layout)
    lock = read_lock(layout.root)
    if not lock:
        return name_changes((), lock, before=lambda _: None, now=lambda _: None, outputs=())
    cache, _ = dag.storage(layout.root)
    return name_changes(
        dag.differences(layout.root),
        lock,
        before=reader_of_cache(cache),
        now=lambda path: _now(layout.root / path),
        outputs=[out["path"] for entry in lock.values() for out in entry.get("outs", ())],
    )


def _now(path: Path) -> Any:
    if path.suffix == ".json":
        return read_json(path) if path.is_file() else None
    text = path.read_text(encoding="utf-8")
    return yaml.load(text, Loader=LOADER) if path.suffix == ".yaml" else text


def _drift(layout: Layout, params: Params) -> Iterator[Evidence]:
    """Datasets whose last validation ended the run for drift, so that nothing was trained on them."""
    for name in params.datasets:
        path = layout.validated(name) / "result.json"
        if not path.is_file() or (layout.validated(name) / "accepted.parquet").is_file():
            continue
        measures = read_json(path).get("drift", {}).get("measures", {})
        for measure in measures.values():
            if measure["moved"]:
                what = f"{name}: {measure['what']} moved by {measure['value']:g}, {measure['limit']:g} allowed"
                yield Evidence(cause=Cause.DRIFT, what=what)


def _versions(layout: Layout, params: Params) -> tuple[TrainedVersion | None, TrainedVersion | None]:
    """The champion, and the newest version after it that passed its gates."""
    uri = tracking_uri(params.tracking, layout.root)
    if not exists(uri):
        return None, None
    champion = resolve(params.served_model, params.rollout.alias, tracking_uri=uri)
    if champion is None:
        return None, None
    served = trained_version(champion)
    good = [
        trained_version(version)
        for version in versions_of(params.registry.model_name, tracking_uri=uri)
        if version.tags.get(GATES_TAG) == "true" and version.bundle_sha256 != champion.bundle_sha256
    ]
    later = [version for version in good if version.created_at > served.created_at and not version.withdrawn]
    return served, max(later, key=lambda version: version.created_at, default=None)


def trained_version(version: VersionInfo) -> TrainedVersion:
    """What the registry says of a version that matters here."""
    reported = None
    with suppress(ValueError):  # written by hand
        reported = datetime.fromisoformat(version.tags.get(DRIFT_AT_TAG, ""))
    people = [] if version.tags.get(ACCEPTED_TAG) else version.tags.get(SUBJECTS_TAG, "").split(",")
    return TrainedVersion(
        version=version.version,
        created_at=utc(version.created_ms),
        drift=version.tags.get(DRIFT_TAG),
        drift_at=reported if reported is None or reported.tzinfo else reported.replace(tzinfo=UTC),
        withdrawn=len([person for person in people if person]),
    )
