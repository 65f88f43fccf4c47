"""A declared application keeps everything but its version."""

from __future__ import annotations

import copy
from typing import Any

from components.rollout.serve_control import with_version
from components.serving.service import VersionRef

VERSION = VersionRef(model_name="mer", version="3", bundle_sha256="a" * 64, tracking_uri="http://registry")
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
    assert result["deployments"][1].pop("user_config") == VERSION.model_dump()
    assert result == before


def test_no_version_is_an_empty_configuration() -> None:
    assert with_version(DECLARED, "Replica", None)["deployments"][1]["user_config"] == {}


def test_a_deployment_that_was_not_declared_is_added() -> None:
    result = with_version({"name": "mer", "import_path": "somewhere:build"}, "Replica", VERSION)
    assert result["deployments"] == [{"name": "Replica", "user_config": VERSION.model_dump()}]
