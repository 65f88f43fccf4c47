"""The namespace's quota holds everything that an overlay may grow to, and not much more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from pipelines.kubeflow import kustomize
from tests.infra.kuberay import CLUSTERS
from tests.infra.manifests import FOLDERS, INFRA
from tests.infra.pods import Manifest, workload_pods

# An upgrade has a second cluster beside the first, until that answers.
AT_ONCE = {"RayCluster": 1, "RayJob": 1, "RayService": 2}
# A head's autoscaler, and eight tasks of a Kubeflow run at a time with what Kubeflow starts beside them.
AUTOSCALER = Counter({"requests.cpu": 0.5, "requests.memory": 0.5 * 2**30, "pods": 0})
TASKS = Counter({"requests.cpu": 12.0, "requests.memory": 36 * 2**30, "pods": 24})
UNITS = {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}
ROOM = 1.5


def amount(quantity: str) -> float:
    """A quantity of Kubernetes, of the units that are used here."""
    for unit, factor in UNITS.items():
        if quantity.endswith(unit):
            return float(quantity.removesuffix(unit)) * factor
    return float(quantity)


def of_pod(spec: Mapping[str, Any], count: int = 1) -> Counter[str]:
    """What pods of a kind request."""
    asked: Counter[str] = Counter({"pods": count})
    for container in spec["containers"]:
        for name, quantity in container["resources"]["requests"].items():
            asked[f"requests.{name}"] += count * amount(quantity)
    return asked


def needed(manifests: Sequence[Manifest]) -> Counter[str]:
    """What everything at its largest requests."""
    total: Counter[str] = Counter(TASKS)
    for pod in workload_pods(manifests):
        total += of_pod(pod.spec, pod.count)
    for manifest in manifests:
        if manifest["kind"] not in CLUSTERS:
            continue
        cluster, times = CLUSTERS[manifest["kind"]](manifest["spec"]), AT_ONCE[manifest["kind"]]
        one = of_pod(cluster["headGroupSpec"]["template"]["spec"]) + AUTOSCALER
        for group in cluster["workerGroupSpecs"]:
            one += of_pod(group["template"]["spec"], group["maxReplicas"])
        for _ in range(times):
            total += one
    total["persistentvolumeclaims"] = sum(item["kind"] == "PersistentVolumeClaim" for item in manifests)
    return total


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_quota_holds_what_an_overlay_may_grow_to(folder: str) -> None:
    manifests = kustomize.render(INFRA / folder)
    allowed = {name: amount(str(q)) for name, q in kustomize.find(manifests, "ResourceQuota")["spec"]["hard"].items()}
    asked = needed(manifests)
    assert set(asked) <= set(allowed)
    assert {name: (asked[name], allowed[name]) for name in asked if asked[name] > allowed[name]} == {}


@pytest.mark.parametrize("folder", ["base", "overlays/prod"])
def test_the_quota_is_a_bound(folder: str) -> None:
    manifests = kustomize.render(INFRA / folder)
    hard = kustomize.find(manifests, "ResourceQuota")["spec"]["hard"]
    asked = needed(manifests)
    for name in ("requests.cpu", "requests.memory", "requests.nvidia.com/gpu"):
        assert amount(str(hard[name])) <= ROOM * asked[name], name


def test_a_larger_group_breaks_the_quota() -> None:
    manifests = kustomize.render(INFRA / "base")
    kustomize.find(manifests, "RayCluster")["spec"]["workerGroupSpecs"][1]["maxReplicas"] = 20
    hard = kustomize.find(manifests, "ResourceQuota")["spec"]["hard"]
    assert needed(manifests)["requests.nvidia.com/gpu"] > amount(str(hard["requests.nvidia.com/gpu"]))


def test_a_container_without_requests_gets_some() -> None:
    (limits,) = kustomize.find(kustomize.render(INFRA / "base"), "LimitRange")["spec"]["limits"]
    for name in ("cpu", "memory"):
        assert 0 < amount(limits["defaultRequest"][name]) <= amount(limits["default"][name])
