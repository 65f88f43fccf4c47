"""Would every pod start? The Pod Security Standard and the network policies, on the pods that operators make too."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.kubeflow import generate, kustomize
from pipelines.stages import STAGES
from tests.infra import kfp_pods
from tests.infra.every_pod import compiled
from tests.infra.kuberay import OPERATOR, ray_pods
from tests.infra.manifests import FOLDERS, INFRA
from tests.infra.network import Network, Outside, selects
from tests.infra.pod_security import violations
from tests.infra.pods import Pod, workload_pods

OWN = "mer"
PROFILE = "team-a"  # Kubeflow tasks in a namespace of their own
LABELS: dict[str, dict[str, str]] = {
    PROFILE: {"mer-tasks": "yes"},
    "kuberay-system": {},
    "kube-system": {},
    "kubeflow": {},
    "ingress-nginx": {},
    "elsewhere": {},
}
STRANGER = Pod(name="stranger", namespace="elsewhere", labels={}, spec={"containers": []})
# KubeRay labels the pods of every Ray cluster like this, whoever owns it.
FOREIGN_RAY = replace(
    STRANGER, name="foreign-ray", labels={"ray.io/is-ray-node": "yes", "app.kubernetes.io/name": "kuberay"}
)
DNS = replace(STRANGER, name="dns", namespace="kube-system")
KFP_API = replace(STRANGER, name="ml-pipeline", namespace="kubeflow")
API_SERVER = Outside(address="10.96.0.1", name="the API server")
INTERNET = Outside(address="203.0.113.7", name="the internet")
UNLABELLED = replace(STRANGER, name="unlabelled", namespace=PROFILE)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Every pod of an overlay and of a Kubeflow run in either namespace, by name, the network they are in, and the
    disruption budgets."""

    pods: dict[str, Pod]
    network: Network
    budgets: list[dict[str, Any]]

    def of(self, pattern: str) -> list[Pod]:
        """The pods whose `namespace/name` matches."""
        pods = [pod for pod in self.pods.values() if Path(str(pod)).match(pattern)]
        assert pods, pattern
        return pods


@pytest.fixture(scope="module")
def workflow() -> tuple[dict[str, Any], dict[str, Any]]:
    return compiled()


@pytest.fixture(scope="module", params=FOLDERS)
def cluster(request: pytest.FixtureRequest, workflow: tuple[dict[str, Any], dict[str, Any]]) -> Cluster:
    return assemble(kustomize.render(INFRA / request.param), workflow)


def assemble(manifests: list[dict[str, Any]], workflow: tuple[dict[str, Any], dict[str, Any]]) -> Cluster:
    pods = [
        *workload_pods(manifests),
        *ray_pods(manifests),
        *(pod for namespace in (OWN, PROFILE) for pod in kfp_pods.pipeline_pods(*workflow, namespace)),
    ]
    policies = [manifest for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    own = {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == "Namespace"}
    namespaces = {**LABELS, OWN: own[OWN]["metadata"]["labels"]}
    by_name = {str(pod): pod for pod in pods}
    assert len(by_name) == len(pods)
    budgets = [manifest for manifest in manifests if manifest["kind"] == "PodDisruptionBudget"]
    return Cluster(pods=by_name, network=Network(policies=policies, namespaces=namespaces), budgets=budgets)


def refused(cluster: Cluster) -> dict[str, list[str]]:
    return {name: fields for name, pod in cluster.pods.items() if (fields := violations(pod))}


def test_no_pod_is_refused(cluster: Cluster) -> None:
    assert refused(cluster) == {}


def test_the_namespace_enforces_what_is_tested(cluster: Cluster) -> None:
    assert cluster.network.namespaces[OWN]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_pods_of_every_kind_are_looked_at(cluster: Cluster) -> None:
    kinds = ["mer-mlflow", "mer-ray-*-headgroup", "mer-run-*-cpu", "mer-run-submitter", "mer-rayservice-headgroup"]
    for pattern in [*kinds, "dag-driver", "train", "train-driver"]:
        cluster.of(f"{OWN}/{pattern}")


def without_submitter(manifests: list[dict[str, Any]]) -> None:
    del kustomize.find(manifests, "RayJob")["spec"]["submitterPodTemplate"]


def without_autoscaler_context(manifests: list[dict[str, Any]]) -> None:
    del kustomize.find(manifests, "RayCluster")["spec"]["autoscalerOptions"]["securityContext"]


def test_what_the_operators_make_by_default_is_refused(workflow: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """KubeRay's own submitter and autoscaler, and KFP's task pods, if they were left as they are."""
    manifests = kustomize.render(INFRA / "base")
    without_submitter(manifests)
    without_autoscaler_context(manifests)
    pipeline, platform = copy.deepcopy(workflow)
    for executor in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        del executor["securityContext"]
    fields = refused(assemble(manifests, (pipeline, platform)))
    assert fields.pop("mer/mer-run-submitter") == [
        f"ray-job-submitter: {field}"
        for field in ("allowPrivilegeEscalation", "capabilities.drop", "runAsNonRoot", "seccompProfile")
    ]
    assert fields.pop("mer/mer-ray-raycluster-headgroup") == [
        "autoscaler: allowPrivilegeEscalation",
        "autoscaler: capabilities.drop",
    ]
    assert fields == {
        f"{namespace}/{name}": ["main: runAsNonRoot"]
        for namespace in (OWN, PROFILE)
        for name in (generate.CHECK, generate.REPORT, *STAGES)
    }


CONTAINER = {
    "name": "c",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def a_pod(**spec: Any) -> Pod:
    return replace(STRANGER, spec={"containers": [copy.deepcopy(CONTAINER)], **spec})


def in_container(**context: Any) -> Pod:
    return a_pod(containers=[{**CONTAINER, "securityContext": {**CONTAINER["securityContext"], **context}}])  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("pod", "field"),
    [
        (a_pod(hostNetwork=True), "hostNetwork"),
        (a_pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "volume v: hostPath"),
        (a_pod(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}), "sysctl kernel.msgmax"),
        (a_pod(securityContext={"runAsUser": 0}), "runAsUser"),
        (a_pod(initContainers=[{"name": "i"}]), "i: runAsNonRoot"),
        (a_pod(containers=[{**CONTAINER, "ports": [{"hostPort": 80}]}]), "c: hostPort"),
        (in_container(privileged=True), "c: privileged"),
        (in_container(capabilities={"drop": ["ALL"], "add": ["SYS_PTRACE"]}), "c: capabilities.add"),
        (in_container(runAsUser=0), "c: runAsUser"),
        (in_container(seccompProfile={"type": "Unconfined"}), "c: seccompProfile"),
        (in_container(procMount="Unmasked"), "c: procMount"),
        (in_container(seLinuxOptions={"type": "spc_t"}), "c: seLinuxOptions"),
        (in_container(appArmorProfile={"type": "Unconfined"}), "c: appArmorProfile"),
    ],
)
def test_each_rule_of_the_standard_can_fail(pod: Pod, field: str) -> None:
    assert violations(a_pod()) == []
    assert field in violations(pod)


# Who has to reach what: patterns of `namespace/name`, and the port.
NEEDED = [
    ("*/features", "mer/mer-ray-raycluster-headgroup", 8265),  # a heavy stage sends its job
    ("*/train", "mer/mer-mlflow", 5000),
    ("*/register", "mer/mer-mlflow", 5000),
    ("mer/mer-run-submitter", "mer/mer-run-rayjob-headgroup", 8265),
    ("mer/mer-ray-*", "mer/mer-ray-raycluster-headgroup", 6379),
    ("mer/mer-run-rayjob-*", "mer/mer-run-rayjob-*", 20000),  # Ray's workers listen on ports they choose
    ("mer/mer-run-rayjob-*", "mer/mer-mlflow", 5000),
    ("mer/mer-rayservice-*", "mer/mer-rayservice-*", 8000),
    ("mer/mer-rayservice-*", "mer/mer-mlflow", 5000),  # the reconciler, and the replicas that load a bundle
]
CODE_PORTS = (6379, 8265, 10001, 20000)  # whatever reaches these runs code in the cluster


@pytest.mark.parametrize(("source", "target", "port"), NEEDED)
def test_pods_reach_what_they_need(cluster: Cluster, source: str, target: str, port: int) -> None:
    assert blocked(cluster, source, target, port) == []


def blocked(cluster: Cluster, source: str, target: str, port: int) -> list[str]:
    return [
        f"{near} -> {far}"
        for near in cluster.of(source)
        for far in cluster.of(target)
        if near != far and not cluster.network.connects(near, far, port)
    ]


def test_redis_is_reached_by_heads_and_by_the_job_that_cleans_up(
    workflow: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    prod = assemble(kustomize.render(INFRA / "overlays/prod"), workflow)
    for source in ("mer/mer-ray-*-headgroup", "mer/*-redis-cleanup"):
        assert blocked(prod, source, "mer/mer-redis", 6379) == []
    (redis,) = prod.of("mer/mer-redis")
    for pod in [*prod.of("*/train"), *prod.of("mer/mer-mlflow"), STRANGER, FOREIGN_RAY]:
        assert not prod.network.connects(pod, redis, 6379)


def test_people_reach_mlflow_by_the_proxy_alone(workflow: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ingress = replace(STRANGER, name="controller", namespace="ingress-nginx")
    with_login, with_oidc = (
        assemble(kustomize.render(INFRA / "overlays" / name), workflow) for name in ("prod", "prod-oidc")
    )
    (mlflow,), (proxy,) = with_oidc.of("mer/mer-mlflow"), with_oidc.of("mer/mer-mlflow-oidc")
    assert with_login.network.connects(ingress, mlflow, 5000)
    assert not with_oidc.network.connects(ingress, mlflow, 5000)
    assert with_oidc.network.connects(ingress, proxy, 4180)
    assert with_oidc.network.connects(proxy, mlflow, 5000)
    for pod in [STRANGER, FOREIGN_RAY, UNLABELLED, *with_oidc.of("*/train")]:
        assert not with_oidc.network.connects(pod, proxy, 4180)
    for pod in with_oidc.of("*/train"):
        assert with_oidc.network.connects(pod, mlflow, 5000)  # with its own login


def ray_of(cluster: Cluster) -> Iterator[Pod]:
    return (pod for pod in cluster.pods.values() if pod.labels.get("ray.io/is-ray-node") == "yes")


def test_the_operator_reaches_the_job_servers_and_the_service(cluster: Cluster) -> None:
    for pod in cluster.of("mer/mer-rayservice-*"):
        assert cluster.network.connects(OPERATOR, pod, 8000)
    for pod in ray_of(cluster):
        assert cluster.network.connects(OPERATOR, pod, 8265)
        assert not cluster.network.connects(OPERATOR, pod, 6379)


@pytest.mark.parametrize("pod", [STRANGER, FOREIGN_RAY, UNLABELLED], ids=str)
def test_nobody_else_runs_code_or_changes_the_registry(cluster: Cluster, pod: Pod) -> None:
    for target in ray_of(cluster):
        assert not any(cluster.network.connects(pod, target, port) for port in CODE_PORTS)
    for target in cluster.of("mer/mer-rayservice-*"):
        assert cluster.network.connects(pod, target, 8000)  # the service's own port; a gateway before it asks who calls
    (mlflow,) = cluster.of("mer/mer-mlflow")
    assert not cluster.network.connects(pod, mlflow, 5000)


def test_kfps_own_pods_run_no_code_on_ray(cluster: Cluster) -> None:
    for pod in [*cluster.of("*/*-driver")]:
        assert not any(cluster.network.connects(pod, target, port) for target in ray_of(cluster) for port in CODE_PORTS)


def test_serving_and_training_are_apart(cluster: Cluster) -> None:
    """Neither runs code in the other's clusters, and no volume of training's is mounted by serving."""
    training = [*cluster.of("mer/mer-ray-*"), *cluster.of("mer/mer-run-rayjob-*"), *cluster.of("mer/train")]
    serving = cluster.of("mer/mer-rayservice-*")
    for trainer, server in itertools.product(training, serving):
        assert not any(cluster.network.connects(trainer, server, port) for port in CODE_PORTS)
        assert not any(cluster.network.connects(server, trainer, port) for port in CODE_PORTS)
    for pod in serving:
        assert not any("persistentVolumeClaim" in volume for volume in pod.spec["volumes"]), str(pod)


def test_what_leaves_the_namespace_is_named(cluster: Cluster) -> None:
    network = cluster.network
    own = [pod for pod in cluster.pods.values() if pod.namespace == OWN]
    assert [str(pod) for pod in own if not network.connects(pod, DNS, 53, "UDP")] == []
    kubeflow = [pod for pod in own if "pipelines.kubeflow.org/v2_component" in pod.labels]
    heads = [pod for pod in own if pod.labels.get("ray.io/node-type") == "head"]
    for pod in [*kubeflow, *heads]:
        assert network.connects(pod, API_SERVER, 443)
    for pod in kubeflow:
        assert network.connects(pod, KFP_API, 8888)
    others = [pod for pod in own if pod not in kubeflow and pod not in heads]
    has_bucket = any(policy["metadata"]["name"] == "mer-mlflow-store" for policy in network.policies)
    for pod in others:
        stores, logs_in = has_bucket and pod.name == "mer-mlflow", pod.name == "mer-mlflow-oidc"
        assert network.connects(pod, INTERNET, 443) == (stores or logs_in), str(pod)
        assert network.connects(pod, INTERNET, 5432) == stores, str(pod)
        assert not network.connects(pod, KFP_API, 8888), str(pod)
    for pod in own:
        assert not network.connects(pod, INTERNET, 80), str(pod)
        assert not network.connects(pod, STRANGER, 443), str(pod)


def test_a_pod_without_labels_reaches_nothing_and_is_reached_by_nothing(cluster: Cluster) -> None:
    nobody = replace(STRANGER, name="nobody", namespace=OWN)
    for pod in cluster.of("mer/mer-*"):
        assert not any(cluster.network.connects(nobody, pod, port) for port in (*CODE_PORTS, 5000, 8000))
        assert not any(cluster.network.connects(pod, nobody, port) for port in (*CODE_PORTS, 5000, 8000))


SPREAD = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


def lost_by_a_drain(cluster: Cluster) -> dict[str, list[str]]:
    """What serves with several replicas and would go with one node or zone, or all at once when nodes are drained; and
    single pods that a budget would keep from being drained at all. What training does is resumed."""
    wrong: dict[str, list[str]] = {}
    for name, pod in cluster.pods.items():
        if pod.labels.get("app.kubernetes.io/component") == "training":
            continue
        spreads = pod.spec.get("topologySpreadConstraints", [])
        over = {spread["topologyKey"] for spread in spreads if selects(spread["labelSelector"], pod.labels)}
        own = [budget["spec"] for budget in cluster.budgets if selects(budget["spec"]["selector"], pod.labels)]
        lacks = [f"not spread over {key}" for key in sorted(SPREAD - over)] if pod.count > 1 else []
        lacks += ["no budget"] if pod.count > 1 and not own else []
        lacks += ["two budgets"] if len(own) > 1 else []  # the API server then refuses every eviction
        lacks += ["cannot be drained"] if any(budget.get("maxUnavailable") != 1 for budget in own) else []
        wrong |= {name: lacks} if lacks else {}
    return wrong


def test_draining_nodes_leaves_replicas(cluster: Cluster) -> None:
    assert lost_by_a_drain(cluster) == {}


def test_each_way_of_losing_all_replicas_is_noticed(workflow: tuple[dict[str, Any], dict[str, Any]]) -> None:
    def broken(breakage: Callable[[list[dict[str, Any]]], None]) -> dict[str, list[str]]:
        manifests = kustomize.render(INFRA / "overlays/prod-oidc")
        breakage(manifests)
        return lost_by_a_drain(assemble(manifests, workflow))

    def budget(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
        return kustomize.find(manifests, "PodDisruptionBudget", name)["spec"]

    def proxy(manifests: list[dict[str, Any]]) -> dict[str, Any]:
        spec: dict[str, Any] = kustomize.find(manifests, "Deployment", "mer-mlflow-oidc")["spec"]["template"]["spec"]
        return spec

    def misspelt(manifests: list[dict[str, Any]]) -> None:
        budget(manifests, "mer-serving")["selector"]["matchLabels"]["app.kubernetes.io/component"] = "servin"

    def all_at_once(manifests: list[dict[str, Any]]) -> None:
        budget(manifests, "mer-mlflow-oidc").update(maxUnavailable=0)

    def of_others(manifests: list[dict[str, Any]]) -> None:
        proxy(manifests)["topologySpreadConstraints"][1]["labelSelector"] = {"matchLabels": {"a": "b"}}

    def twice(manifests: list[dict[str, Any]]) -> None:
        manifests.append({"kind": "PodDisruptionBudget", "spec": budget(manifests, "mer-mlflow-oidc")})

    assert broken(misspelt) == {"mer/mer-rayservice-cpu": ["no budget"]}
    assert broken(all_at_once) == {"mer/mer-mlflow-oidc": ["cannot be drained"]}
    assert broken(of_others) == {"mer/mer-mlflow-oidc": ["not spread over topology.kubernetes.io/zone"]}
    assert broken(twice) == {"mer/mer-mlflow-oidc": ["two budgets"]}


Breakage = Callable[[list[dict[str, Any]]], None]


def policy(manifests: list[dict[str, Any]], name: str) -> dict[str, Any]:
    spec: dict[str, Any] = kustomize.find(manifests, "NetworkPolicy", name)["spec"]
    return spec


def misspelt_label(manifests: list[dict[str, Any]]) -> None:
    job = kustomize.find(manifests, "RayJob")["spec"]["submitterPodTemplate"]
    job["metadata"]["labels"] = {"app.kubernetes.io/partof": "mer"}


def wrong_port(manifests: list[dict[str, Any]]) -> None:
    policy(manifests, "mer-mlflow")["ingress"][0]["ports"][0]["port"] = 500


@pytest.mark.parametrize(
    ("breakage", "need"),
    [(misspelt_label, NEEDED[3]), (without_submitter, NEEDED[3]), (wrong_port, NEEDED[1])],
)
def test_a_mistake_in_a_label_or_a_port_is_noticed(
    workflow: tuple[dict[str, Any], dict[str, Any]], breakage: Breakage, need: tuple[str, str, int]
) -> None:
    manifests = kustomize.render(INFRA / "base")
    assert blocked(assemble(manifests, workflow), *need) == []
    breakage(manifests)
    assert blocked(assemble(manifests, workflow), *need) != []
