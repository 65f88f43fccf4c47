"""A pod as the API server would see it, and the pods that plain Kubernetes workloads make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What admission and the network policies look at.

    Attributes:
        name: for messages.
        namespace: where it runs.
        labels: the pod's own.
        spec: a `PodSpec` of Kubernetes.
        count: how many there are of it, at most.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    count: int = 1

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All of them; Pod Security checks init and ephemeral containers like the others."""
        kinds = ("initContainers", "containers", "ephemeralContainers")
        return [container for kind in kinds for container in self.spec.get(kind, ())]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def workload_pods(manifests: Sequence[Manifest]) -> Iterator[Pod]:
    """The pods of Deployments, StatefulSets, Jobs and CronJobs."""
    for manifest in manifests:
        template = TEMPLATES.get(manifest["kind"])
        if template is not None:
            yield from_template(manifest, template(manifest["spec"]), count=manifest["spec"].get("replicas", 1))


def from_template(owner: Manifest, template: Mapping[str, Any], name: str | None = None, count: int = 1) -> Pod:
    """The pod of a `PodTemplateSpec` in its owner's namespace."""
    return Pod(
        name=name or owner["metadata"]["name"],
        namespace=owner["metadata"]["namespace"],
        labels=template.get("metadata", {}).get("labels", {}),
        spec=template["spec"],
        count=count,
    )


TEMPLATES = {
    "Deployment": lambda spec: spec["template"],
    "StatefulSet": lambda spec: spec["template"],
    "Job": lambda spec: spec["template"],
    "CronJob": lambda spec: spec["jobTemplate"]["spec"]["template"],
}
