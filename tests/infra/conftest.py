"""The manifests of each overlay, as kustomize would render them."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.kubeflow import kustomize
from tests.infra.manifests import FOLDERS, INFRA


@pytest.fixture(params=FOLDERS)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return kustomize.render(INFRA / request.param)
