"""The service from outside: by TLS, to KubeRay's Service, within the service's own limits."""

from __future__ import annotations

from typing import Any

import kubernetes_validate

from components.contracts.config import Serving
from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA, KUBERNETES, serve_config

ANNOTATION = "nginx.ingress.kubernetes.io/"


def narrower(ingress: dict[str, Any]) -> set[str]:
    """The bounds of the ingress that are below the service's own, which would then say nothing of why."""
    given = {name.removeprefix(ANNOTATION): value for name, value in ingress["metadata"]["annotations"].items()}
    serving = Serving()
    longest_s = max(serving.stream_max_s, serving.upload_timeout_s + serving.request_timeout_s)
    bounds = {"proxy-body-size": serving.max_batch_bytes / 2**20, "proxy-read-timeout": longest_s}
    return {name for name, least in bounds.items() if float(given[name].rstrip("m")) < least} | {
        name for name in ("proxy-send-timeout",) if float(given[name]) < serving.upload_timeout_s
    }


def test_it_leads_to_the_service_and_is_no_narrower() -> None:
    (ingress,) = kustomize.render(INFRA / "components" / "service-ingress")
    kubernetes_validate.validate(ingress, KUBERNETES, strict=True)
    (rule,), (tls,) = ingress["spec"]["rules"], ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    base = kustomize.render(INFRA / "base")
    service = kustomize.find(base, "RayService")["metadata"]
    assert (backend["name"], ingress["metadata"]["namespace"]) == (f"{service['name']}-serve-svc", service["namespace"])
    assert backend["port"]["number"] == serve_config(base)["http_options"]["port"]
    assert ingress["metadata"]["annotations"][f"{ANNOTATION}proxy-request-buffering"] == "off"
    assert narrower(ingress) == set()


def test_a_bound_below_the_services_is_noticed() -> None:
    (ingress,) = kustomize.render(INFRA / "components" / "service-ingress")
    ingress["metadata"]["annotations"] |= {
        f"{ANNOTATION}proxy-body-size": "1m",
        f"{ANNOTATION}proxy-read-timeout": "60",
    }
    assert narrower(ingress) == {"proxy-body-size", "proxy-read-timeout"}
