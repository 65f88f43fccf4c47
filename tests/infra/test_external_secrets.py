"""A store outside the cluster gives every secret that the overlays name, key by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA

# What is added to an overlay's resources, and to it.
ADDED = {"prod": ("prod",), "prod-postgres": ("prod", "postgres"), "prod-oidc": ("prod", "postgres", "oidc")}
# The operator's CRD, external-secrets.io/v1: of its fields those that make sense here.
SPEC = {"refreshInterval", "secretStoreRef", "target", "data"}
ENTRY = {"secretKey", "remoteRef"}
MADE_BY_OPERATORS = {"mer-ray", "mer-mlflow-tls"}


def named(value: Any) -> Iterator[tuple[str, str | None]]:
    """Every secret that a manifest names, with its key; None where all of its keys are taken."""
    if isinstance(value, list):
        for inner in value:
            yield from named(inner)
    if not isinstance(value, dict):
        return
    for field, inner in value.items():
        if field == "secretKeyRef":
            yield inner["name"], inner["key"]
        elif field == "secretRef":
            yield inner["name"], None
        elif field == "authOptions" and "secretName" in inner:
            yield inner["secretName"], "auth_token"
        elif field == "secret" and "secretName" in inner:
            yield from ((inner["secretName"], item["key"]) for item in inner.get("items", [{"key": None}]))
        elif field == "credentials":
            yield inner["name"], inner["key"]
        else:
            yield from named(inner)


def given(added: tuple[str, ...]) -> dict[str, set[str]]:
    """Secret → its keys, from the store."""
    manifests = [manifest for name in added for manifest in kustomize.render(INFRA / "external-secrets" / name)]
    secrets: dict[str, set[str]] = {}
    for manifest in manifests:
        assert (manifest["apiVersion"], manifest["kind"]) == ("external-secrets.io/v1", "ExternalSecret")
        assert manifest["metadata"]["namespace"] == "mer"
        spec = manifest["spec"]
        assert set(spec) == SPEC
        assert all(set(entry) == ENTRY for entry in spec["data"])
        assert spec["target"]["name"] not in secrets
        secrets[spec["target"]["name"]] = {entry["secretKey"] for entry in spec["data"]}
        for entry in spec["data"]:
            assert entry["remoteRef"] == {"key": spec["target"]["name"], "property": entry["secretKey"]}
    return secrets


def missing(overlay: str, secrets: dict[str, set[str]]) -> set[tuple[str, str | None]]:
    manifests = [*kustomize.render(INFRA / "overlays" / overlay), *kustomize.render(INFRA / "prometheus")]
    wanted = {(name, key) for name, key in named(manifests) if name not in MADE_BY_OPERATORS}
    assert {name for name, _ in wanted} >= {"mer-service-token", "mer-mlflow-login", "mer-webhook", "mer-api-keys"}
    return {(name, key) for name, key in wanted if key not in {None, *secrets.get(name, ())} or name not in secrets}


@pytest.mark.parametrize("overlay", ADDED)
def test_every_secret_of_an_overlay_comes_from_the_store(overlay: str) -> None:
    assert missing(overlay, given(ADDED[overlay])) == set()


def test_a_misspelt_secret_or_key_is_noticed() -> None:
    secrets = given(ADDED["prod"])
    secrets["mer-webhok"] = secrets.pop("mer-webhook")
    secrets["mer-redis"] = {"pasword"}
    assert missing("prod", secrets) == {
        ("mer-webhook", "secret"),
        ("mer-webhook", "encryption-key"),
        ("mer-redis", "password"),
    }


def test_nothing_is_asked_of_the_store_that_no_overlay_names() -> None:
    manifests = [*kustomize.render(INFRA / "overlays" / "prod-oidc"), *kustomize.render(INFRA / "prometheus")]
    assert set(given(ADDED["prod-oidc"])) <= {name for name, _ in named(manifests)}
