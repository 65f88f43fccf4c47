"""What MLflow has of a decision: why on the version and its run, and on the model when the last one ended well."""

from __future__ import annotations

from datetime import UTC, datetime

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.rollout.figures import RETRAINED_AT_TAG
from components.tracking.address import exists, tracking_uri
from components.tracking.client import Client
from components.tracking.runs import Run
from components.tracking.versions import registered_version, resolve, set_tags, tag_model, version_info
from pipelines.retraining.decide import Decision
from pipelines.retraining.gather import DRIFT_AT_TAG, DRIFT_TAG

# On a version and on the run that trained it.
CAUSES_TAG, WHY_TAG = "retrain.causes", "retrain.why"
# On the registered model beside RETRAINED_AT_TAG: which decision that was.
KIND_TAG = "retrain.decision"
MAX_WHY = 4000  # MLflow's tags of a run hold 5000 characters


def record(layout: Layout, params: Params, decision: Decision) -> None:
    """Writes the outcome of a decision that was carried out. A version that was trained for an earlier cause keeps it.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    uri = tracking_uri(params.tracking, layout.root)
    if not exists(uri):
        return
    path = layout.registered / "registered.json"
    name = params.registry.model_name
    if decision.kind == "retrain" and path.is_file():
        number = registered_version(name, read_json(path)["bundle_sha256"], tracking_uri=uri)
        version = None if number is None else version_info(name, number, tracking_uri=uri)
        if version is not None and CAUSES_TAG not in version.tags:
            tags = tags_of(decision)
            set_tags(name, version.version, tags, tracking_uri=uri)
            if version.run_id is not None:
                Run(Client(uri), version.run_id).tags(tags)
    tag_model(name, {KIND_TAG: decision.kind, RETRAINED_AT_TAG: _now()}, tracking_uri=uri)


def tags_of(decision: Decision) -> dict[str, str]:
    """The causes and their evidence as tags."""
    why = "; ".join(str(evidence) for evidence in decision.causes)
    return {WHY_TAG: why[:MAX_WHY], CAUSES_TAG: ", ".join(decision.names)}


def report_drift(layout: Layout, params: Params, text: str) -> str:
    """Notes on the served version that its input has drifted; returns the version's number, or nothing."""
    uri = tracking_uri(params.tracking, layout.root)
    version = resolve(params.served_model, params.rollout.alias, tracking_uri=uri) if exists(uri) else None
    if version is None:
        return ""
    set_tags(version.name, version.version, {DRIFT_AT_TAG: _now(), DRIFT_TAG: text[:MAX_WHY]}, tracking_uri=uri)
    return version.version


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
