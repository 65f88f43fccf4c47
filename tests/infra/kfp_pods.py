"""The pods that Kubeflow Pipelines makes of a compiled pipeline, with what it and Argo Workflows add to them.

Facts read from the sources of kubeflow/pipelines (backend/src/v2) and argoproj/argo-workflows:

* Each run has a driver pod for its DAG and one per task, and importer pods for importers. Their image is KFP's own;
  pod and containers get `runAsNonRoot`, `RuntimeDefault`, no escalation and no capabilities
  (applySecurityContextToTemplate, compiler/argocompiler/security_context.go).
* A task's own pod gets the same except `runAsNonRoot`, in the pod as in the main container, "since user-specified
  images may run as root" (applySecurityContextToExecutorTemplate). Its init container `kfp-launcher` gets all of it.
* `kfp.kubernetes.set_security_context` sets user, group and `runAsNonRoot` of the main container alone, not the
  pod's `fsGroup` (driver/k8s.go, extendPodSpecPatch). It came with KFP 2.17; older servers ignore it.
* Argo adds the containers `init` and `wait` with `MinimalCtrSC` (workflow/common/security_context.go).
* Every pod is labelled `pipelines.kubeflow.org/v2_component` (argo.go); only a task's own pod gets the labels of
  `kfp.kubernetes.add_pod_label` (container.go, extendPodMetadata).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.infra.pods import Pod

PROFILE = {"type": "RuntimeDefault"}
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": PROFILE,
}
SYSTEM = {**HARDENED, "runAsNonRoot": True}
ARGO = {**SYSTEM, "privileged": False, "runAsUser": 8737, "readOnlyRootFilesystem": True}
ARGO_CONTAINERS = ({"name": "init", "securityContext": ARGO}, {"name": "wait", "securityContext": ARGO})
SCRATCH = ("kfp-launcher", "gcs-scratch", "s3-scratch", "minio-scratch", "dot-local-scratch", "dot-cache-scratch")
LABELS = {"pipelines.kubeflow.org/v2_component": "true"}

Document = Mapping[str, Any]


def pipeline_pods(pipeline: Document, platform: Document, namespace: str) -> Iterator[Pod]:
    """Every pod of one run.

    Args:
        pipeline, platform: the two documents of a compiled pipeline.
        namespace: where the run is started.
    """
    yield _system("dag-driver", namespace)
    executors = pipeline["deploymentSpec"]["executors"]
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in executors.items():
        name = label.removeprefix("exec-")
        if "importer" in executor:
            yield _system(f"{name}-importer", namespace)
        else:
            yield _system(f"{name}-driver", namespace)
            yield _task(name, executor["container"], settings.get(label, {}), namespace)


def _system(name: str, namespace: str) -> Pod:
    container = {"name": "main", "securityContext": SYSTEM}
    spec = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": PROFILE},
        "initContainers": [ARGO_CONTAINERS[0]],
        "containers": [container, ARGO_CONTAINERS[1]],
    }
    return Pod(name=name, namespace=namespace, labels=LABELS, spec=spec)


def _task(name: str, container: Document, settings: Document, namespace: str) -> Pod:
    given = settings.get("securityContext", {})
    identity = {key: int(given[key]) for key in ("runAsUser", "runAsGroup") if key in given}
    if "runAsNonRoot" in given:
        identity["runAsNonRoot"] = given["runAsNonRoot"]
    claims = [mount["constant"] for mount in settings.get("pvcMount", ())]
    main = {"name": "main", "image": container["image"], "securityContext": {**HARDENED, **identity}}
    spec = {
        "securityContext": {"seccompProfile": PROFILE},
        "initContainers": [ARGO_CONTAINERS[0], {"name": "kfp-launcher", "securityContext": SYSTEM}],
        "containers": [main, ARGO_CONTAINERS[1]],
        "volumes": [
            *({"name": scratch, "emptyDir": {}} for scratch in SCRATCH),
            *({"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims),
        ],
    }
    labels = {**LABELS, **settings.get("podMetadata", {}).get("labels", {})}
    return Pod(name=name, namespace=namespace, labels=labels, spec=spec)
