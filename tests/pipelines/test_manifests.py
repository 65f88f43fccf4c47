"""The manifests of `infra/`, as kustomize would render them: every field known, every reference resolved."""

from __future__ import annotations

import configparser
import importlib
import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError

from components.contracts.config import Params, Serving
from components.serving.http.gateway import VARIABLE
from components.serving.http.gateway import environment as of_gateway
from components.serving.replica import BACKSTOP_S, DEPLOYMENT, IMPORT_PATH, MAX_CONNECTIONS, ReplicaArgs
from components.tracking import login
from pipelines import cli
from pipelines.kubeflow import kustomize
from pipelines.kubeflow.settings import load_settings
from tests.conftest import SHARED
from tests.pipelines.projects import ROOT

INFRA = ROOT / "infra"
FOLDERS = ("base", "overlays/dev", "overlays/prod", "overlays/prod-postgres", "overlays/prod-oidc")
CUSTOM = ("RayCluster", "RayJob", "RayService")
KUBERNETES = "1.37"


@pytest.fixture(params=FOLDERS)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return kustomize.render(INFRA / request.param)


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
    }
    assert {manifest["kind"] for manifest in core} - {"StatefulSet", "Ingress"} == expected
    for manifest in core:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


TYPOS = [
    ("Deployment", "mer-mlflow", "spec/template/spec/containers/0", "volumeMount"),
    ("NetworkPolicy", "mer-default-deny", "spec", "policyType"),
    ("PodDisruptionBudget", "mer-serving", "spec", "maxUnavailble"),
    ("StatefulSet", "mer-redis", "spec/template/spec", "securityContex"),
    ("Ingress", "mer-mlflow", "spec/rules/0", "hosts"),
    ("ConfigMap", "mer-environment", "", "dat"),
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
    assert {manifest["metadata"].get("namespace") for manifest in manifests if manifest["kind"] != "Namespace"} == {
        "mer"
    }


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


def clusters(manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        kustomize.find(manifests, "RayCluster")["spec"],
        kustomize.find(manifests, "RayJob")["spec"]["rayClusterSpec"],
        kustomize.find(manifests, "RayService")["spec"]["rayClusterConfig"],
    ]


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


def unknown_keys(given: Any, dumped: Any, path: str = "") -> list[str]:
    """Keys of a configuration that the model built from it does not have; Serve drops them silently."""
    if isinstance(given, dict) and isinstance(dumped, dict):
        return [f"{path}{key}" for key in given if key not in dumped] + [
            name for key in given if key in dumped for name in unknown_keys(given[key], dumped[key], f"{path}{key}.")
        ]
    if isinstance(given, list) and isinstance(dumped, list):
        return [name for left, right in zip(given, dumped, strict=True) for name in unknown_keys(left, right, path)]
    return []


def serve_config(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(kustomize.find(manifests, "RayService")["spec"]["serveConfigV2"])
    return config


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_the_service_is_the_one_that_is_written(manifests: list[dict[str, Any]]) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = serve_config(manifests)
    assert unknown_keys(config, ServeDeploySchema.model_validate(config).model_dump()) == []
    (application,) = config["applications"]
    assert application["import_path"] == IMPORT_PATH
    assert [deployment["name"] for deployment in application["deployments"]] == [DEPLOYMENT]
    arguments = ReplicaArgs.model_validate(application["args"])
    assert arguments.golden_tolerance == Params().rollout.golden_tolerance
    assert application["deployments"][0]["num_replicas"] >= 2
    assert arguments.serving.replicas == application["deployments"][0]["num_replicas"]
    assert config["http_options"]["request_timeout_s"] == Serving().request_timeout_s + BACKSTOP_S
    assert application["deployments"][0]["max_ongoing_requests"] == MAX_CONNECTIONS
    [environment] = [each["data"] for each in manifests if each["metadata"]["name"].startswith("mer-environment")]
    expected = of_gateway(Serving(), counts=Path("/tmp/mer-metrics"), keys=Path("/etc/mer/api-keys/keys.json"))
    assert set(expected) <= set(environment)
    assert {**environment, **expected} == {**environment, VARIABLE: expected[VARIABLE]}
    assert Serving.model_validate_json(environment[VARIABLE]) == Serving(require_key=True)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_a_misspelt_key_of_the_service_is_noticed() -> None:
    from ray.serve.schema import ServeDeploySchema

    config = serve_config(kustomize.render(INFRA / "base"))
    config["applications"][0]["deployments"][0]["max_queued_request"] = 3
    assert unknown_keys(config, ServeDeploySchema.model_validate(config).model_dump()) == [
        "applications.deployments.max_queued_request"
    ]


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
                assert name in {"redis", "registry.example.org/mer-python", "registry.example.org/mer-serving"}


def test_the_image_is_made_from_the_locks() -> None:
    text = (INFRA / "images" / "Dockerfile").read_text()
    sent = (INFRA / "images" / "Dockerfile.dockerignore").read_text().splitlines()
    for line in text.splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in sent, name
    assert "requirements.lock" in text
    assert "make env" in text


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


def service_head(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    config = kustomize.find(manifests, "RayService")["spec"]["rayClusterConfig"]
    spec: dict[str, Any] = config["headGroupSpec"]["template"]["spec"]
    return spec


def test_the_reconciler_can_drive_the_head_beside_it(manifests: list[dict[str, Any]]) -> None:
    spec = service_head(manifests)
    assert spec["containers"][0]["name"] == "ray-head"  # KubeRay takes the first one for Ray's
    head, beside = container(spec, "ray-head"), container(spec, "reconciler")
    assert spec["shareProcessNamespace"] is True
    assert beside["volumeMounts"] == head["volumeMounts"]
    assert {"/tmp/ray", "/dev/shm", "/opt/mer/.mer", "/etc/mer/api-keys"} == {
        mount["mountPath"] for mount in beside["volumeMounts"]
    }
    assert beside["image"] == head["image"]
    assert beside["envFrom"] == head["envFrom"]
    environment = {entry["name"]: entry for entry in beside["env"]}
    (gcs,) = (port["containerPort"] for port in head["ports"] if port["name"] == "gcs")
    assert environment["RAY_ADDRESS"]["value"] == f"127.0.0.1:{gcs}"


def test_the_reconciler_runs_a_command_that_exists(manifests: list[dict[str, Any]]) -> None:
    beside = container(service_head(manifests), "reconciler")
    wait, _, command = beside["args"][0].partition("; done; exec mer ")
    assert f"127.0.0.1:{serve_config(manifests)['http_options']['port']}/" in wait
    name, *options = command.split()
    # Parsed, not run: an option that does not exist is an error here.
    parsed = typer.main.get_command(cli.app).commands[name].make_context(name, list(options))  # type: ignore[attr-defined]
    assert parsed.params["attach"] is True
    heartbeat = options[options.index("--heartbeat") + 1]
    assert heartbeat in beside["startupProbe"]["exec"]["command"]
    assert heartbeat in beside["livenessProbe"]["exec"]["command"][-1]


def test_the_reconciler_has_the_clusters_token(manifests: list[dict[str, Any]]) -> None:
    cluster = kustomize.find(manifests, "RayService")["spec"]["rayClusterConfig"]
    beside = container(service_head(manifests), "reconciler")
    assert (cluster["authOptions"]["secretName"], "auth_token") in set(secrets(beside))


def test_the_text_that_is_submitted_again_takes_no_version_away(manifests: list[dict[str, Any]]) -> None:
    (application,) = serve_config(manifests)["applications"]
    assert all("user_config" not in deployment for deployment in application["deployments"])


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


def test_every_secret_has_its_command_in_the_documentation() -> None:
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    for name, key in set(secrets(kustomize.render(INFRA / "overlays" / "prod-oidc"))):
        assert f"create secret generic {name} --from-literal={key}=" in text
