"""What the tests of the manifests look at: where they are, and parts of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from pipelines.kubeflow import kustomize
from tests.pipelines.projects import ROOT

INFRA = ROOT / "infra"

FOLDERS = ("base", "overlays/dev", "overlays/prod", "overlays/prod-postgres", "overlays/prod-oidc")
KUBERNETES = "1.37"


def pod_specs(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        for inner in value.values():
            yield from pod_specs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from pod_specs(inner)


def owned_pod_specs(manifests: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for manifest in manifests:
        for spec in pod_specs(manifest):
            yield manifest, spec


def secrets(value: Any) -> Iterator[tuple[str, str]]:
    """Name and key of every secret that is read."""
    if isinstance(value, dict):
        if "secretKeyRef" in value:
            yield value["secretKeyRef"]["name"], value["secretKeyRef"]["key"]
        for inner in value.values():
            yield from secrets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from secrets(inner)


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    (match,) = (container for container in spec["containers"] if container["name"] == name)
    return dict(match)


def clusters(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        kustomize.find(manifests, "RayCluster")["spec"],
        kustomize.find(manifests, "RayJob")["spec"]["rayClusterSpec"],
        kustomize.find(manifests, "RayService")["spec"]["rayClusterConfig"],
    ]


def serve_config(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(kustomize.find(manifests, "RayService")["spec"]["serveConfigV2"])
    return config


def service_head(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    config = kustomize.find(manifests, "RayService")["spec"]["rayClusterConfig"]
    spec: dict[str, Any] = config["headGroupSpec"]["template"]["spec"]
    return spec
