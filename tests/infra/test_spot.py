"""Where spot nodes are used, workers that train are on them, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipelines.kubeflow import kustomize
from tests.infra.kuberay import ray_pods
from tests.infra.manifests import INFRA
from tests.infra.pods import Pod, workload_pods
from tests.infra.test_fields import crd

SPOT = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
GPU = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.fixture(params=["prod", "prod-oidc"])
def manifests(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    """An overlay with the component."""
    added = {
        "resources": [str(INFRA / "overlays" / request.param)],
        "components": [str(INFRA / "components" / "spot")],
    }
    (tmp_path / kustomize.FILE).write_text(yaml.safe_dump(added))
    return kustomize.render(tmp_path)


def on_spot(pod: Pod) -> bool:
    """Whether it goes to spot nodes; one that is let in there and not sent, or sent and not let in, is a mistake."""
    sent = pod.spec.get("nodeSelector") == {"karpenter.sh/capacity-type": "spot"}
    assert sent == (SPOT in pod.spec.get("tolerations", [])), pod
    return sent


def test_workers_that_train_are_on_spot_nodes_and_nothing_else_is(manifests: list[dict[str, Any]]) -> None:
    for kind in ("RayCluster", "RayJob"):
        jsonschema.Draft202012Validator(crd(kind)).validate(kustomize.find(manifests, kind))
    pods = [*workload_pods(manifests), *ray_pods(manifests)]
    training = {
        pod.name
        for pod in pods
        if pod.labels.get("app.kubernetes.io/component") == "training" and pod.labels["ray.io/node-type"] == "worker"
    }
    assert len(training) == 4
    assert {pod.name for pod in pods if on_spot(pod)} == training
    assert [pod.name for pod in pods if GPU in pod.spec.get("tolerations", [])]  # still there


def test_a_taint_without_its_label_is_noticed(manifests: list[dict[str, Any]]) -> None:
    group = kustomize.find(manifests, "RayCluster")["spec"]["workerGroupSpecs"][1]
    del group["template"]["spec"]["nodeSelector"]
    with pytest.raises(AssertionError):
        [on_spot(pod) for pod in ray_pods(manifests)]
