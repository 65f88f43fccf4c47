"""Who reaches MLflow in production, and by which name."""

from __future__ import annotations

import configparser
import importlib
import tomllib
from typing import Any

from components.tracking import login
from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA, clusters


def test_in_production_mlflow_asks_who_calls_and_everybody_who_calls_has_a_login() -> None:
    prod = kustomize.render(INFRA / "overlays" / "prod")
    server = kustomize.find(prod, "Deployment", "mer-mlflow")["spec"]["template"]["spec"]
    (mlflow,) = server["containers"]
    assert "--app-name=basic-auth" in mlflow["args"]
    variables = {entry["name"]: entry.get("value") for entry in mlflow["env"]}
    config = configparser.ConfigParser()
    config.read_string(kustomize.find(prod, "ConfigMap", "mer-mlflow-login")["data"]["basic_auth.ini"])
    (mount,) = (mount for mount in mlflow["volumeMounts"] if mount["name"] == "login")
    assert variables["MLFLOW_AUTH_CONFIG_PATH"] == f"{mount['mountPath']}/basic_auth.ini"
    module, _, function = config["mlflow"]["authorization_function"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    host = kustomize.find(prod, "Ingress")["spec"]["rules"][0]["host"]
    assert host in (variables["MLFLOW_SERVER_ALLOWED_HOSTS"] or "").split(",")
    assert variables["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == f"https://{host}"
    for cluster in clusters(prod):
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        for spec in (group["template"]["spec"] for group in groups):
            for each in spec["containers"]:
                assert {"secretRef": {"name": "mer-mlflow-login"}} in each["envFrom"]


# Of oauth2-proxy's options (its documentation, 7.15; a flag's name with underscores, a list's in the plural) those that
# make sense here. It refuses to start with one it does not know.
PROXY_OPTIONS = frozenset(
    {
        "allowed_groups", "api_routes", "authenticated_emails_file", "client_id", "code_challenge_method",
        "cookie_csrf_expire", "cookie_csrf_per_request", "cookie_expire", "cookie_httponly", "cookie_name",
        "cookie_refresh", "cookie_samesite", "cookie_secure", "email_domains", "http_address",
        "insecure_oidc_skip_nonce", "metrics_address", "oidc_email_claim", "oidc_groups_claim", "oidc_issuer_url",
        "pass_basic_auth", "pass_host_header", "prefer_email_to_user", "prompt", "provider", "provider_ca_files",
        "provider_display_name", "real_client_ip_header", "redirect_url", "reverse_proxy", "scope",
        "silence_ping_logging", "skip_provider_button", "upstreams", "whitelist_domains",
    }
)  # fmt: skip


def unknown_options(manifests: list[dict[str, Any]]) -> set[str]:
    text = kustomize.find(manifests, "ConfigMap", "mer-mlflow-oidc")["data"]["proxy.cfg"]
    return set(tomllib.loads(text)) - PROXY_OPTIONS


def test_the_proxy_has_options_that_exist_and_a_misspelt_one_is_noticed() -> None:
    manifests = kustomize.render(INFRA / "overlays" / "prod-oidc")
    assert unknown_options(manifests) == set()
    data = kustomize.find(manifests, "ConfigMap", "mer-mlflow-oidc")["data"]
    data["proxy.cfg"] = data["proxy.cfg"].replace("prefer_email_to_user", "prefer_emails_to_user")
    assert unknown_options(manifests) == {"prefer_emails_to_user"}


def test_people_come_to_mlflow_by_the_proxy_and_by_one_name() -> None:
    manifests = kustomize.render(INFRA / "overlays" / "prod-oidc")
    ingress = kustomize.find(manifests, "Ingress")["spec"]["rules"][0]
    backend = ingress["http"]["paths"][0]["backend"]["service"]
    service = kustomize.find(manifests, "Service", backend["name"])["spec"]
    assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    pod = kustomize.find(manifests, "Deployment", backend["name"])["spec"]["template"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    (proxy,) = pod["spec"]["containers"]
    config = tomllib.loads(kustomize.find(manifests, "ConfigMap", backend["name"])["data"]["proxy.cfg"])
    assert config["redirect_url"] == f"https://{ingress['host']}/oauth2/callback"
    (upstream,) = config["upstreams"]
    server = kustomize.find(manifests, "Service", "mer-mlflow")
    port = server["spec"]["ports"][0]["port"]
    assert (
        upstream == f"http://{server['metadata']['name']}.{server['metadata']['namespace']}.svc.cluster.local:{port}/"
    )
    (mlflow,) = kustomize.find(manifests, "Deployment", "mer-mlflow")["spec"]["template"]["spec"]["containers"]
    shared = {entry["name"]: entry.get("valueFrom") for entry in [*proxy["env"], *mlflow["env"]]}
    assert shared["OAUTH2_PROXY_BASIC_AUTH_PASSWORD"] == shared[login.PROXY_VARIABLE] != None  # noqa: E711
