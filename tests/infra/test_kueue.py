"""Where Kueue is installed, a RayJob is in a queue that has room for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA
from tests.infra.test_fields import crd
from tests.infra.test_quota import amount, of_pod

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
Manifests = list[dict[str, Any]]


@pytest.fixture(params=["dev", "prod", "prod-oidc"])
def queued(request: pytest.FixtureRequest, tmp_path: Path) -> Manifests:
    """An overlay with the component."""
    added = {
        "resources": [str(INFRA / "overlays" / request.param)],
        "components": [str(INFRA / "components" / "kueue")],
    }
    (tmp_path / kustomize.FILE).write_text(yaml.safe_dump(added))
    return kustomize.render(tmp_path)


def needed(job: dict[str, Any]) -> Counter[str]:
    """What a RayJob's pods request together, its submitter included."""
    cluster = job["spec"]["rayClusterSpec"]
    total = of_pod(cluster["headGroupSpec"]["template"]["spec"]) + of_pod(job["spec"]["submitterPodTemplate"]["spec"])
    for group in cluster["workerGroupSpecs"]:
        total += of_pod(group["template"]["spec"], group["replicas"])
    return total


def too_little(manifests: Manifests) -> set[str]:
    """What the queue of the RayJob lacks for one job; "queue" where it is in none."""
    job = kustomize.find(manifests, "RayJob")
    local = kustomize.find(manifests, "LocalQueue")
    named = job["metadata"]["labels"].get(QUEUE_LABEL)
    if (named, job["metadata"]["namespace"]) != (local["metadata"]["name"], local["metadata"]["namespace"]):
        return {"queue"}
    queue = kustomize.find(manifests, "ClusterQueue", local["spec"]["clusterQueue"])["spec"]
    (group,) = queue["resourceGroups"]
    (flavor,) = group["flavors"]
    kustomize.find(manifests, "ResourceFlavor", flavor["name"])
    quotas = {entry["name"]: amount(str(entry["nominalQuota"])) for entry in flavor["resources"]}
    assert list(quotas) == group["coveredResources"]
    asked = {name.removeprefix("requests."): value for name, value in needed(job).items() if name != "pods"}
    return {name for name, value in asked.items() if value > quotas.get(name, 0.0)}


def test_a_job_of_a_fixed_size_is_in_a_queue_with_room_for_it(queued: Manifests) -> None:
    job = kustomize.find(queued, "RayJob")
    jsonschema.Draft202012Validator(crd("RayJob")).validate(job)
    assert too_little(queued) == set()
    # What Kueue asks of a RayJob.
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] <= group["maxReplicas"]


def test_a_misspelt_label_and_a_larger_job_are_noticed(queued: Manifests) -> None:
    job = kustomize.find(queued, "RayJob")
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] = 5
    assert too_little(queued) == {"cpu", "memory"}
    labels = job["metadata"]["labels"]
    labels["kueue.x-k8s.io/queue"] = labels.pop(QUEUE_LABEL)
    assert too_little(queued) == {"queue"}
