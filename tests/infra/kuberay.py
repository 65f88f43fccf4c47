"""The pods that the KubeRay operator makes of its custom resources, with what it adds to them.

Facts read from the operator's source (ray-project/kuberay, ray-operator/controllers/ray):

* Head and worker pods get the labels of `labelPod` (common/pod.go), `app.kubernetes.io/name: kuberay` among them; the
  template's labels win but for node type, group and cluster. Pods of a RayService also get `ray.io/serve`.
* With `enableInTreeAutoscaling` the head gets a container `autoscaler` without a security context unless
  `autoscalerOptions.securityContext` sets one (BuildAutoscalerContainer, mergeAutoscalerOverrides).
* Each worker gets an init container `wait-gcs-ready` with the security context of the Ray container
  (DefaultWorkerPodTemplate).
* Both get emptyDirs for /dev/shm and Ray's logs unless their paths are mounted (addEmptyDir).
* A cluster with Redis gets a cleanup Job when it is deleted: the head pod with its Ray container alone and the node
  type `redis-cleanup` (buildRedisCleanupJob, raycluster_controller.go).
* A RayJob in K8sJobMode gets a submitter pod: `submitterPodTemplate`, or one container without any security context
  and a pod without labels (GetSubmitterTemplate, common/job.go). The operator adds the command and the token to either.
* The operator's own pod is labelled `app.kubernetes.io/component: kuberay-operator` by its Helm chart and by
  config/manager/manager.yaml; `app.kubernetes.io/name` differs between the two.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.infra.pods import Manifest, Pod, from_template

OPERATOR = Pod(
    name="kuberay-operator",
    namespace="kuberay-system",
    labels={"app.kubernetes.io/name": "kuberay-operator", "app.kubernetes.io/component": "kuberay-operator"},
    spec={"containers": []},
)
DEFAULT_SUBMITTER = {"spec": {"containers": [{"name": "ray-job-submitter", "image": ""}], "restartPolicy": "Never"}}


def ray_pods(manifests: Sequence[Manifest]) -> Iterator[Pod]:
    """Every pod of every RayCluster, RayJob and RayService: one per group, since a group's are alike."""
    for manifest in manifests:
        if manifest["kind"] in CLUSTERS:
            yield from _cluster_pods(manifest, CLUSTERS[manifest["kind"]](manifest["spec"]))
        if manifest["kind"] == "RayJob" and manifest["spec"].get("submissionMode", "K8sJobMode") == "K8sJobMode":
            template = manifest["spec"].get("submitterPodTemplate", DEFAULT_SUBMITTER)
            yield from_template(manifest, template, f"{manifest['metadata']['name']}-submitter")


CLUSTERS = {
    "RayCluster": lambda spec: spec,
    "RayJob": lambda spec: spec["rayClusterSpec"],
    "RayService": lambda spec: spec["rayClusterConfig"],
}


def _cluster_pods(owner: Manifest, cluster: Mapping[str, Any]) -> Iterator[Pod]:
    head = _head(owner, cluster)
    yield head
    if "gcsFaultToleranceOptions" in cluster:
        yield _redis_cleanup(head)
    for group in cluster.get("workerGroupSpecs", ()):
        yield _worker(owner, group)


def _head(owner: Manifest, cluster: Mapping[str, Any]) -> Pod:
    template = copy.deepcopy(cluster["headGroupSpec"]["template"])
    spec = template["spec"]
    _add_empty_dir(spec, spec["containers"][0], "shared-mem", "/dev/shm")
    if cluster.get("enableInTreeAutoscaling"):
        context = cluster.get("autoscalerOptions", {}).get("securityContext")
        autoscaler = {"name": "autoscaler", **({"securityContext": context} if context else {})}
        spec["containers"].append(autoscaler)
        for container in (spec["containers"][0], autoscaler):
            _add_empty_dir(spec, container, "ray-logs", "/tmp/ray")
    return _node(owner, template, node_type="head", group="headgroup")


def _worker(owner: Manifest, group: Mapping[str, Any]) -> Pod:
    template = copy.deepcopy(group["template"])
    spec = template["spec"]
    ray = spec["containers"][0]
    _add_empty_dir(spec, ray, "shared-mem", "/dev/shm")
    wait = {key: ray[key] for key in ("image", "securityContext", "volumeMounts") if key in ray}
    spec["initContainers"] = [*spec.get("initContainers", ()), {"name": "wait-gcs-ready", **wait}]
    return _node(owner, template, node_type="worker", group=group["groupName"], count=group["maxReplicas"])


def _redis_cleanup(head: Pod) -> Pod:
    return Pod(
        name=f"{head.name}-redis-cleanup",
        namespace=head.namespace,
        labels={**head.labels, "ray.io/node-type": "redis-cleanup"},
        spec={**head.spec, "containers": [head.spec["containers"][0]], "restartPolicy": "Never"},
    )


def _node(owner: Manifest, template: Mapping[str, Any], *, node_type: str, group: str, count: int = 1) -> Pod:
    name = owner["metadata"]["name"]
    fixed = {"ray.io/cluster": name, "ray.io/node-type": node_type, "ray.io/group": group}
    labels = {
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{name}-{node_type}",
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
        **template.get("metadata", {}).get("labels", {}),
        **fixed,
    }
    if owner["kind"] == "RayService":
        labels["ray.io/serve"] = "true" if node_type == "worker" else "false"
    return Pod(
        name=f"{name}-{owner['kind'].lower()}-{group}",
        namespace=owner["metadata"]["namespace"],
        labels=labels,
        spec=template["spec"],
        count=count,
    )


def _add_empty_dir(spec: dict[str, Any], container: dict[str, Any], name: str, path: str) -> None:
    if any(mount["mountPath"] == path for mount in container.get("volumeMounts", ())):
        return
    if all(volume["name"] != name for volume in spec.setdefault("volumes", [])):
        spec["volumes"].append({"name": name, "emptyDir": {}})
    container.setdefault("volumeMounts", []).append({"name": name, "mountPath": path})
