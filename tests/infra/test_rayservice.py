"""The service that KubeRay starts, and the reconciler beside its head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from components.contracts.config import Params, Serving
from components.serving.http.gateway import VARIABLE
from components.serving.http.gateway import environment as of_gateway
from components.serving.replica import BACKSTOP_S, DEPLOYMENT, IMPORT_PATH, MAX_CONNECTIONS, ReplicaArgs
from pipelines import cli
from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA, container, secrets, serve_config, service_head


def unknown_keys(given: Any, dumped: Any, path: str = "") -> list[str]:
    """Keys of a configuration that the model built from it does not have; Serve drops them silently."""
    if isinstance(given, dict) and isinstance(dumped, dict):
        return [f"{path}{key}" for key in given if key not in dumped] + [
            name for key in given if key in dumped for name in unknown_keys(given[key], dumped[key], f"{path}{key}.")
        ]
    if isinstance(given, list) and isinstance(dumped, list):
        return [name for left, right in zip(given, dumped, strict=True) for name in unknown_keys(left, right, path)]
    return []


def unknown_to_serve(config: dict[str, Any]) -> list[str]:
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

    scaling = config["applications"][0]["deployments"][0]["autoscaling_config"]
    return [
        *unknown_keys(config, ServeDeploySchema.model_validate(config).model_dump()),
        *unknown_keys(scaling, AutoscalingConfig.model_validate(scaling).model_dump()),
    ]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_the_service_is_the_one_that_is_written(manifests: list[dict[str, Any]]) -> None:
    config = serve_config(manifests)
    assert unknown_to_serve(config) == []
    (application,) = config["applications"]
    assert application["import_path"] == IMPORT_PATH
    assert [deployment["name"] for deployment in application["deployments"]] == [DEPLOYMENT]
    arguments = ReplicaArgs.model_validate(application["args"])
    assert arguments.golden_tolerance == Params().rollout.golden_tolerance
    scaling = application["deployments"][0]["autoscaling_config"]
    assert arguments.serving.replicas == scaling["min_replicas"] >= 2
    assert scaling["target_ongoing_requests"] == arguments.serving.max_ongoing_requests
    assert config["http_options"]["request_timeout_s"] == Serving().request_timeout_s + BACKSTOP_S
    assert application["deployments"][0]["max_ongoing_requests"] == MAX_CONNECTIONS
    [environment] = [each["data"] for each in manifests if each["metadata"]["name"].startswith("mer-environment")]
    expected = of_gateway(Serving(), counts=Path("/tmp/mer-metrics"), keys=Path("/etc/mer/api-keys/keys.json"))
    assert set(expected) <= set(environment)
    assert {**environment, **expected} == {**environment, VARIABLE: expected[VARIABLE]}
    assert Serving.model_validate_json(environment[VARIABLE]) == Serving(require_key=True)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_a_misspelt_key_of_the_service_is_noticed() -> None:
    config = serve_config(kustomize.render(INFRA / "base"))
    config["applications"][0]["deployments"][0]["max_queued_request"] = 3
    config["applications"][0]["deployments"][0]["autoscaling_config"]["max_replica"] = 3
    assert unknown_to_serve(config) == ["applications.deployments.max_queued_request", "max_replica"]


def test_there_are_pods_for_the_replicas_that_may_come(manifests: list[dict[str, Any]]) -> None:
    cluster = kustomize.find(manifests, "RayService")["spec"]["rayClusterConfig"]
    assert cluster["enableInTreeAutoscaling"] is True
    (application,) = serve_config(manifests)["applications"]
    (group,) = cluster["workerGroupSpecs"]
    processors = int(group["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    scaling, each = application["deployments"][0]["autoscaling_config"], application["args"]["serving"]["replica_cpus"]
    assert scaling["min_replicas"] * each <= group["minReplicas"] * processors
    if group["maxReplicas"] > 1:  # `dev` has one pod: its replicas end where that is full
        assert scaling["max_replicas"] * each <= group["maxReplicas"] * processors


def test_the_reconciler_can_drive_the_head_beside_it(manifests: list[dict[str, Any]]) -> None:
    spec = service_head(manifests)
    assert spec["containers"][0]["name"] == "ray-head"  # KubeRay takes the first one for Ray's
    head, beside = container(spec, "ray-head"), container(spec, "reconciler")
    assert spec["shareProcessNamespace"] is True
    shared = [mount for mount in beside["volumeMounts"] if mount["name"] != "webhook"]  # its own secret
    assert shared == head["volumeMounts"]
    assert {"/tmp/ray", "/dev/shm", "/opt/mer/.mer", "/etc/mer/api-keys"} == {mount["mountPath"] for mount in shared}
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
