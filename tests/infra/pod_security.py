"""The Pod Security Standard `restricted`, which includes `baseline`, as the admission controller enforces it.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Kubernetes 1.37, Linux pods).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.infra.pods import Pod

VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
SELINUX = frozenset({"container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_syncookies",
    }
)

Context = Mapping[str, Any]


def violations(pod: Pod) -> list[str]:
    """The fields for which the API server refuses the pod where `restricted` is enforced; empty if it does not."""
    context = pod.spec.get("securityContext", {})
    return [
        *_of_the_pod(pod.spec, context),
        *(
            f"{container['name']}: {field}"
            for container in pod.containers
            for field in _of_a_container(container, context)
        ),
    ]


def _of_the_pod(spec: Context, context: Context) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    for volume in spec.get("volumes", ()):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            yield f"volume {volume['name']}: {', '.join(sorted(kinds - VOLUMES))}"
    for sysctl in context.get("sysctls", ()):
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _shared(context)
    if context.get("runAsUser") == 0:
        yield "runAsUser"


def _of_a_container(container: Context, pod: Context) -> Iterator[str]:
    context = container.get("securityContext", {})
    capabilities = context.get("capabilities", {})
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop"
    if not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if context.get("runAsUser") == 0:
        yield "runAsUser"
    if context.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in SECCOMP:
        yield "seccompProfile"
    if context.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports", ())):
        yield "hostPort"
    yield from _shared(context)


def _shared(context: Context) -> Iterator[str]:
    """Rules that hold for the pod's context and for each container's."""
    options = context.get("seLinuxOptions", {})
    if options.get("user") or options.get("role") or options.get("type", "container_t") not in SELINUX:
        yield "seLinuxOptions"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") == "Unconfined":
        yield "appArmorProfile"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield "windowsOptions.hostProcess"
