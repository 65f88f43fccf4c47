"""Where nodes are short, training goes before what serves."""

from __future__ import annotations

from typing import Any

from pipelines.kubeflow import kustomize
from tests.infra.kuberay import ray_pods
from tests.infra.manifests import INFRA
from tests.infra.pods import workload_pods

Manifests = list[dict[str, Any]]


def priorities(manifests: Manifests) -> dict[str, int]:
    """Pod → its priority; 0 is the default of a cluster, and what a class that does not exist counts as here."""
    classes = {each["metadata"]["name"]: each["value"] for each in manifests if each["kind"] == "PriorityClass"}
    pods = [*workload_pods(manifests), *ray_pods(manifests)]
    return {pod.name: classes.get(pod.spec.get("priorityClassName", ""), 0) for pod in pods}


def wrong(manifests: Manifests) -> set[str]:
    """Pods of training that others could not displace, and of serving that others could."""
    found = priorities(manifests)
    training = {name for name in found if name.startswith(("mer-ray-", "mer-run-"))}
    one_time = {"mer-webhook"}
    assert training
    return {name for name in training if found[name] >= 0} | {
        name for name in found.keys() - training - one_time if found[name] <= 0
    }


def test_training_may_be_displaced_and_serving_may_not(manifests: Manifests) -> None:
    assert wrong(manifests) == set()
    assert all(
        each["preemptionPolicy"] == "Never"
        for each in manifests
        if each["kind"] == "PriorityClass" and each["value"] < 0
    )


def test_a_misspelt_class_is_noticed() -> None:
    manifests = kustomize.render(INFRA / "overlays" / "prod-oidc")
    job = kustomize.find(manifests, "RayJob")["spec"]
    job["submitterPodTemplate"]["spec"]["priorityClassName"] = "mer-trainin"
    del kustomize.find(manifests, "Deployment", "mer-mlflow")["spec"]["template"]["spec"]["priorityClassName"]
    assert wrong(manifests) == {"mer-run-submitter", "mer-mlflow"}
