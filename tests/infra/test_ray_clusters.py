"""Ray's clusters: their settings, their version, their ends."""

from __future__ import annotations

from typing import Any

from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA, clusters, pod_specs, secrets
from tests.pipelines.projects import ROOT


def test_ray_clusters_are_safe(manifests: list[dict[str, Any]]) -> None:
    for cluster in clusters(manifests):
        assert cluster["authOptions"]["mode"] == "token"
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        for spec in pod_specs(cluster):
            assert any(mount["mountPath"] == "/dev/shm" for mount in spec["containers"][0]["volumeMounts"])
        for group in cluster["workerGroupSpecs"]:
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
            if "num-gpus" in group["rayStartParams"]:
                assert group["minReplicas"] == 0
                assert group["template"]["spec"]["tolerations"]


def test_ray_is_the_version_that_is_locked(manifests: list[dict[str, Any]]) -> None:
    assert (
        f"ray[data,train,serve,default]=={clusters(manifests)[0]['rayVersion']}"
        in (ROOT / "pyproject.toml").read_text()
    )


def test_a_job_ends_and_goes(manifests: list[dict[str, Any]]) -> None:
    spec = kustomize.find(manifests, "RayJob")["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > 0
    assert "pipelines.cli run" in spec["entrypoint"]


def test_production_survives_its_heads_and_dev_needs_no_redis() -> None:
    prod, dev = (kustomize.render(INFRA / "overlays" / name) for name in ("prod", "dev"))
    service = kustomize.find(prod, "Service", "mer-redis")
    redis = kustomize.find(prod, "StatefulSet", "mer-redis")
    address = f"mer-redis.{service['metadata']['namespace']}.svc.cluster.local:{service['spec']['ports'][0]['port']}"
    assert service["spec"]["selector"].items() <= redis["spec"]["template"]["metadata"]["labels"].items()
    for cluster in (
        kustomize.find(prod, "RayCluster")["spec"],
        kustomize.find(prod, "RayService")["spec"]["rayClusterConfig"],
    ):
        assert cluster["gcsFaultToleranceOptions"]["redisAddress"] == address
        assert set(secrets(cluster["gcsFaultToleranceOptions"])) == set(secrets(redis))
    assert all("gcsFaultToleranceOptions" not in cluster for cluster in clusters(dev))
    assert "StatefulSet" not in {manifest["kind"] for manifest in dev}
