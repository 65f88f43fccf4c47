"""A declared application keeps everything but its version."""

from __future__ import annotations

import copy
from typing import Any

from components.rollout.serve_control import with_version
from components.serving.assignment import Assignment, Trial, VersionRef

VERSION = Assignment(model_name="mer", version="3", bundle_sha256="a" * 64, tracking_uri="http://registry")
DECLARED: dict[str, Any] = {
    "name": "mer",
    "import_path": "somewhere:build",
    "args": {"cache": "/bundles"},
    "deployments": [{"name": "Other", "num_replicas": 1}, {"name": "Replica", "num_replicas": 5}],
}


def test_only_the_version_changes() -> None:
    before = copy.deepcopy(DECLARED)
    result = with_version(DECLARED, "Replica", VERSION)
    assert before == DECLARED
    assert result["deployments"][1].pop("user_config") == VERSION.to_config()
    assert result == before


def test_no_version_is_an_empty_configuration() -> None:
    assert with_version(DECLARED, "Replica", None)["deployments"][1]["user_config"] == {}


def test_a_deployment_that_was_not_declared_is_added() -> None:
    result = with_version({"name": "mer", "import_path": "somewhere:build"}, "Replica", VERSION)
    assert result["deployments"] == [{"name": "Replica", "user_config": VERSION.to_config()}]


def test_a_trial_stands_beside_the_version_and_leaves_its_configuration_as_it_was() -> None:
    alone = VERSION.to_config()
    assert alone == VersionRef(**alone).model_dump()
    trial = Trial(challenger=VersionRef(**alone).model_copy(update={"version": "4"}), share=0.1)
    both = VERSION.model_copy(update={"trial": trial})
    assert Assignment.of(both.to_config()) == both
    assert both.version_alone == VERSION.version_alone
    assert VERSION.trial_id is None
    more = both.model_copy(update={"trial": trial.model_copy(update={"share": 0.9})})
    other = both.model_copy(update={"version": "9"})
    assert both.trial_id == more.trial_id != other.trial_id
