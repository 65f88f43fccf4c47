"""In production MLflow wakes the reconciler: address, port, secret and settings of both sides agree, and nobody else
gets there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer

from components.rollout.webhook import SECRET_FILE_VARIABLE
from components.tracking.webhooks import server_variables
from pipelines import cli
from pipelines.commands.service.woken import LISTEN_VARIABLE
from pipelines.kubeflow import kustomize
from tests.infra.kuberay import ray_pods
from tests.infra.manifests import INFRA, container, service_head
from tests.infra.network import Network, Outside, selects
from tests.infra.pods import Pod, workload_pods

OVERLAYS = ("overlays/prod", "overlays/prod-postgres", "overlays/prod-oidc")
STRANGER = Pod(name="stranger", namespace="elsewhere", labels={}, spec={"containers": []})
KEY = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"
Manifests = list[dict[str, Any]]


@pytest.fixture(params=OVERLAYS)
def production(request: pytest.FixtureRequest) -> Manifests:
    return kustomize.render(INFRA / request.param)


def variables(each: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in each["env"]}


def mlflow(manifests: Manifests) -> dict[str, Any]:
    return container(kustomize.find(manifests, "Deployment", "mer-mlflow")["spec"]["template"]["spec"], "mlflow")


def register(manifests: Manifests) -> dict[str, Any]:
    return container(kustomize.find(manifests, "Job", "mer-webhook")["spec"]["template"]["spec"], "register")


def secret_file(spec: dict[str, Any], name: str) -> tuple[str, str]:
    """The secret and its key that a container has where its environment says."""
    each = container(spec, name)
    folder, _, file = variables(each)[SECRET_FILE_VARIABLE].rpartition("/")
    (mount,) = (mount for mount in each["volumeMounts"] if mount["mountPath"] == folder)
    (volume,) = (volume["secret"] for volume in spec["volumes"] if volume["name"] == mount["name"])
    (item,) = volume["items"]
    assert item["path"] == file
    return volume["secretName"], item["key"]


def test_the_address_that_is_registered_is_the_reconcilers(production: Manifests) -> None:
    name, url = register(production)["args"]
    # Parsed, not run.
    typer.main.get_command(cli.app).commands[name].make_context(name, [url])  # type: ignore[attr-defined]
    address = urlsplit(url)
    service = kustomize.find(production, "Service", "mer-webhook")
    assert address.hostname == f"mer-webhook.{service['metadata']['namespace']}.svc.cluster.local"
    (port,) = service["spec"]["ports"]
    assert address.port == port["port"]
    listens = variables(container(service_head(production), "reconciler"))[LISTEN_VARIABLE]
    assert listens == f"0.0.0.0:{port['targetPort']}"
    selected = [
        pod for pod in ray_pods(production) if selects({"matchLabels": service["spec"]["selector"]}, pod.labels)
    ]
    assert [pod.name for pod in selected] == ["mer-rayservice-headgroup"]


def test_both_sides_have_one_secret_and_mlflow_the_settings_of_mer_serve(production: Manifests) -> None:
    job = kustomize.find(production, "Job", "mer-webhook")["spec"]["template"]["spec"]
    assert (
        secret_file(service_head(production), "reconciler") == secret_file(job, "register") == ("mer-webhook", "secret")
    )
    (ray_head,) = (each for each in service_head(production)["containers"] if each["name"] == "ray-head")
    assert not any(mount["name"] == "webhook" for mount in ray_head["volumeMounts"])
    server, own = server_variables("a secret of the tests"), variables(mlflow(production))
    assert {name: own[name] for name in server} == {**server, KEY: None}  # of a secret


def test_mlflows_administrator_registers_it(production: Manifests) -> None:
    """MLflow's login lets nobody else make webhooks."""
    (key,) = (
        entry["valueFrom"] for entry in register(production)["env"] if entry["name"] == "MLFLOW_TRACKING_PASSWORD"
    )
    (admin,) = (e["valueFrom"] for e in mlflow(production)["env"] if e["name"] == "MLFLOW_AUTH_ADMIN_PASSWORD")
    assert key == admin
    assert variables(register(production))["MLFLOW_TRACKING_USERNAME"] == "admin"


def reached(manifests: Manifests) -> dict[str, set[tuple[str, int]]]:
    """Who gets to a webhook's port or to MLflow's, and where MLflow and the job that registers get."""
    policies = [manifest for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    network = Network(policies=policies, namespaces={"mer": {}, "elsewhere": {}})
    pods = {pod.name: pod for pod in [*workload_pods(manifests), *ray_pods(manifests), STRANGER]}
    job = next(pod for pod in workload_pods([kustomize.find(manifests, "Job", "mer-webhook")]))
    server, head = pods["mer-mlflow"], pods["mer-rayservice-headgroup"]
    ports = (80, 4180, 5000, 5001, 6379, 8000, 8265, 10001)

    def to(source: Pod) -> set[tuple[str, int]]:
        others = (pod for pod in pods.values() if pod != source)
        return {(pod.name, port) for pod in others for port in ports if network.connects(source, pod, port)}

    others = (pod for pod in pods.values() if pod != head and "rayservice" not in pod.name)
    assert not network.connects(server, Outside(address="203.0.113.7"), 80)
    return {
        "mlflow": to(server),
        "job": to(job),
        "head": {(pod.name, 5001) for pod in others if network.connects(pod, head, 5001)},
    }


EXPECTED = {
    "mlflow": {("mer-rayservice-headgroup", 5001)},
    "job": {("mer-mlflow", 5000)},
    "head": {("mer-mlflow", 5001)},
}


def test_mlflow_reaches_one_port_of_one_pod_and_nobody_else_reaches_it(production: Manifests) -> None:
    assert reached(production) == EXPECTED


def policy(manifests: Manifests, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = kustomize.find(manifests, "NetworkPolicy", name)["spec"]
    return spec


def every_port(manifests: Manifests) -> None:
    del policy(manifests, "mer-mlflow-webhook")["egress"][0]["ports"]
    policy(manifests, "mer-webhook")["ingress"][0]["ports"][0]["port"] = 8265


def anybody(manifests: Manifests) -> None:
    del policy(manifests, "mer-webhook")["ingress"][0]["from"]


def misspelt(manifests: Manifests) -> None:
    policy(manifests, "mer-mlflow-webhook")["egress"][0]["to"][0]["podSelector"]["matchLabels"]["ray.io/node-type"] = (
        "hed"
    )


def closed(manifests: Manifests) -> None:
    policy(manifests, "mer-webhook-register")["egress"] = []


@pytest.mark.parametrize(
    ("breakage", "part"), [(every_port, "mlflow"), (misspelt, "mlflow"), (anybody, "head"), (closed, "job")]
)
def test_a_mistake_in_a_policy_is_noticed(breakage: Callable[[Manifests], None], part: str) -> None:
    manifests = kustomize.render(INFRA / "overlays" / "prod")
    breakage(manifests)
    assert reached(manifests)[part] != EXPECTED[part]
