"""Every field of the manifests is known, and a misspelt one is noticed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError

from pipelines.kubeflow import kustomize
from tests.conftest import SHARED
from tests.infra.manifests import INFRA, KUBERNETES
from tests.pipelines.projects import ROOT

CUSTOM = ("RayCluster", "RayJob", "RayService")


def strict(schema: Any) -> Any:
    """A schema that refuses every property it does not declare."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: strict(value) for key, value in schema.items()}
    declared = copied.get("properties")
    # A key called "properties" below another "properties" would be a field of that name, hence the type check.
    if isinstance(declared, dict) and copied.get("type") == "object" and "additionalProperties" not in copied:
        copied["additionalProperties"] = False
    return copied


@cache
def crd(kind: str) -> dict[str, Any]:
    path = SHARED / "schemas" / f"{kind}.json"
    if not path.is_file():
        pytest.skip("KubeRay's schemas are not on this machine (../shared/schemas)")
    schema = json.loads(path.read_text())["schema"]
    # The schema of the custom resource requires only that `metadata` is an object; Kubernetes checks it itself.
    checked = strict(schema)
    checked["additionalProperties"] = False
    return checked


@pytest.mark.parametrize("kind", CUSTOM)
def test_custom_resources_have_only_known_fields(manifests: list[dict[str, Any]], kind: str) -> None:
    jsonschema.Draft202012Validator(crd(kind)).validate(kustomize.find(manifests, kind))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("RayCluster", "spec"),
        ("RayCluster", "spec/workerGroupSpecs/0/template/spec/containers/0"),
        ("RayJob", "spec/submitterPodTemplate/spec"),
        ("RayService", "spec/rayClusterConfig/headGroupSpec"),
    ],
)
def test_a_misspelt_field_is_noticed(kind: str, path: str) -> None:
    manifest = kustomize.find(kustomize.render(INFRA / "base"), kind)
    place: Any = manifest
    for part in path.split("/"):
        place = place[int(part) if part.isdigit() else part]
    place["minReplicaz"] = 1
    with pytest.raises(jsonschema.ValidationError, match="minReplicaz"):
        jsonschema.Draft202012Validator(crd(kind)).validate(manifest)


def test_core_kinds_are_valid(manifests: list[dict[str, Any]]) -> None:
    core = [manifest for manifest in manifests if manifest["kind"] not in CUSTOM]
    expected = {
        "Namespace",
        "PersistentVolumeClaim",
        "ConfigMap",
        "NetworkPolicy",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "ResourceQuota",
        "LimitRange",
        "PriorityClass",
    }
    assert {manifest["kind"] for manifest in core} - {"StatefulSet", "Ingress", "Job"} == expected
    for manifest in core:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


TYPOS = [
    ("Deployment", "mer-mlflow", "spec/template/spec/containers/0", "volumeMount"),
    ("NetworkPolicy", "mer-default-deny", "spec", "policyType"),
    ("PodDisruptionBudget", "mer-serving", "spec", "maxUnavailble"),
    ("StatefulSet", "mer-redis", "spec/template/spec", "securityContex"),
    ("Ingress", "mer-mlflow", "spec/rules/0", "hosts"),
    ("Job", "mer-webhook", "spec", "ttlSecondAfterFinished"),
    ("ConfigMap", "mer-environment", "", "dat"),
    ("PriorityClass", "mer-serving", "", "valu"),
]


@pytest.mark.parametrize(("kind", "name", "path", "typo"), TYPOS, ids=[kind for kind, *_ in TYPOS])
def test_a_misspelt_field_of_a_core_kind_is_noticed(kind: str, name: str, path: str, typo: str) -> None:
    manifest = kustomize.find(kustomize.render(INFRA / "overlays" / "prod"), kind, name)
    place: Any = manifest
    for part in filter(None, path.split("/")):
        place = place[int(part) if part.isdigit() else part]
    place[typo] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match=typo):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def read_once(path: Path) -> list[Any]:
    """The documents of a YAML file; a key that stands twice, of which PyYAML takes the last in silence, is an error."""
    return list(YAML(typ="safe", pure=True).load_all(path))


def test_no_key_stands_twice(tmp_path: Path) -> None:
    files = [*INFRA.rglob("*.yaml"), ROOT / "params.yaml", ROOT / "dvc.yaml"]
    assert all(read_once(path) for path in files)
    twice = tmp_path / "twice.yaml"
    twice.write_text("spec: {replicas: 1, replicas: 2}\n")
    with pytest.raises(DuplicateKeyError, match="replicas"):
        read_once(twice)
