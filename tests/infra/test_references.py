"""What the manifests name is there: volumes, claims, images, secrets, and what the pipeline's settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipelines.kubeflow import kustomize
from pipelines.kubeflow.settings import load_settings
from tests.infra.manifests import INFRA, KUBERNETES, owned_pod_specs, pod_specs, secrets
from tests.pipelines.projects import ROOT


def test_a_namespace_for_tasks_alone_has_what_they_name() -> None:
    volume, claim = profile = kustomize.render(INFRA / "profile")
    for manifest in profile:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    assert claim["metadata"]["name"] == load_settings(ROOT).workspace_claim
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert "namespace" not in volume["metadata"]


def test_everything_is_in_the_namespace_once(manifests: list[dict[str, Any]]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)
    assert {
        manifest["metadata"].get("namespace")
        for manifest in manifests
        if manifest["kind"] not in kustomize.CLUSTER_WIDE
    } == {"mer"}


def test_references_between_manifests_hold(manifests: list[dict[str, Any]]) -> None:
    known = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    for owner, spec in owned_pod_specs(manifests):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", ())}
        claimed = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in known
        for container in spec["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= set(volumes) | claimed
            for source in container.get("envFrom", []):
                if "secretRef" not in source:  # secrets are not in git
                    assert ("ConfigMap", source["configMapRef"]["name"]) in known


def test_no_pod_is_given_more_memory_than_it_asks_for(manifests: list[dict[str, Any]]) -> None:
    for spec in pod_specs(manifests):
        for container in spec["containers"]:
            assert container["resources"]["limits"]["memory"] == container["resources"]["requests"]["memory"]


def test_the_pipelines_settings_name_what_is_there(manifests: list[dict[str, Any]]) -> None:
    settings = load_settings(ROOT)
    kustomize.find(manifests, "PersistentVolumeClaim", settings.workspace_claim)
    cluster = kustomize.find(manifests, "RayCluster")
    namespace = cluster["metadata"]["namespace"]
    assert settings.ray_jobs_address == (
        f"http://{cluster['metadata']['name']}-head-svc.{namespace}.svc.cluster.local:8265"
    )
    assert settings.token_secret == cluster["metadata"]["name"]
    environment = kustomize.find(manifests, "ConfigMap", "mer-environment")["data"]
    assert settings.environment["MLFLOW_TRACKING_URI"] == environment["MLFLOW_TRACKING_URI"]


def test_overlays_set_every_image() -> None:
    for overlay in ("dev", "prod"):
        for spec in pod_specs(kustomize.render(INFRA / "overlays" / overlay)):
            for container in spec["containers"]:
                name, _, tag = container["image"].rpartition(":")
                assert tag
                assert name in {
                    "redis",
                    *(f"registry.example.org/mer-{kind}" for kind in ("python", "serving", "tracking")),
                }


@pytest.mark.parametrize(
    ("image", "lock"), [("Dockerfile", "requirements.lock"), ("Dockerfile.tracking", "requirements-tracking.lock")]
)
def test_an_image_is_made_from_its_lock(image: str, lock: str) -> None:
    text = (INFRA / "images" / image).read_text()
    sent = (INFRA / "images" / f"{image}.dockerignore").read_text().splitlines()
    for line in text.splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for name in (word for word in line.split()[1:-1] if not word.startswith("--")):
                assert (ROOT / name).exists(), name
                assert f"!{name}" in sent, name
    assert lock in text
    assert "make env" in text or "--require-hashes" in text


def test_files_below_infra_are_all_used() -> None:
    """A manifest that no kustomization lists would never be checked."""
    named: set[Path] = set()
    for path in INFRA.rglob(kustomize.FILE):
        config = yaml.safe_load(path.read_text())
        named |= {(path.parent / name).resolve() for name in config.get("resources", [])}
        named |= {(path.parent / patch["path"]).resolve() for patch in config.get("patches", [])}
    existing = {path.resolve() for path in INFRA.glob("*/**/*.yaml")}
    existing.remove(INFRA / "monitoring" / "alerts.yaml")  # read by Prometheus; checked with its metrics
    existing.remove(INFRA / "ci" / "workspace-pod.yaml")  # applied by a script; `tests/infra/test_kind.py` checks it
    assert {path for path in existing if path.name != kustomize.FILE} <= named


def test_every_secret_has_its_command_in_the_documentation() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    for name, key in set(secrets(kustomize.render(INFRA / "overlays" / "prod-oidc"))):
        assert f"create secret generic {name} --from-literal={key}=" in text


def test_what_writes_nothing_where_it_runs_cannot(manifests: list[dict[str, Any]]) -> None:
    """Ray, and stages, do write there; whatever else lasts has a root that is read-only, and a /tmp."""
    lasting = [manifest for manifest in manifests if manifest["kind"] in {"Deployment", "StatefulSet"}]
    assert lasting
    for manifest in lasting:
        for each in manifest["spec"]["template"]["spec"]["containers"]:
            assert each["securityContext"]["readOnlyRootFilesystem"] is True, manifest["metadata"]["name"]
    (mlflow,) = kustomize.find(manifests, "Deployment", "mer-mlflow")["spec"]["template"]["spec"]["containers"]
    assert {"/store", "/tmp"} <= {mount["mountPath"] for mount in mlflow["volumeMounts"]}
