"""Network policies as a plugin enforces them: a connection needs leave to go out at its source and to come in at its
target; a pod that no policy of a direction selects is open in that direction.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from tests.infra.pods import Pod

NAME_LABEL = "kubernetes.io/metadata.name"  # Kubernetes sets it on every namespace
PEERS = {"Egress": "to", "Ingress": "from"}


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A peer that is not a pod: the API server, an object store, a database elsewhere."""

    address: str
    name: str = "outside"

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


Peer = Pod | Outside


@dataclass(frozen=True, kw_only=True)
class Port:
    """The port of a connection."""

    number: int
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Network:
    """The policies of a cluster, and the labels of its namespaces by name."""

    policies: Sequence[Mapping[str, Any]]
    namespaces: Mapping[str, Mapping[str, str]]

    def connects(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` can open a connection to `port` of `target`."""
        opened = Port(number=port, protocol=protocol)
        return self._allows("Egress", source, target, opened) and self._allows("Ingress", target, source, opened)

    def _allows(self, direction: str, pod: Peer, peer: Peer, port: Port) -> bool:
        if isinstance(pod, Outside):
            return True
        policies = [policy["spec"] for policy in self.policies if _applies(policy, pod, direction)]
        peers = PEERS[direction]
        return not policies or any(
            _is_open(rule, port) and (not rule.get(peers) or self._is_any_of(rule[peers], pod.namespace, peer))
            for spec in policies
            for rule in spec.get(direction.lower(), ())
        )

    def _is_any_of(self, selectors: Sequence[Mapping[str, Any]], own_namespace: str, peer: Peer) -> bool:
        return any(self._is_peer(selector, own_namespace, peer) for selector in selectors)

    def _is_peer(self, selector: Mapping[str, Any], own_namespace: str, peer: Peer) -> bool:
        if "ipBlock" in selector:
            return isinstance(peer, Outside) and _in_block(selector["ipBlock"], peer.address)
        if isinstance(peer, Outside):
            return False
        if "namespaceSelector" in selector:
            labels = {NAME_LABEL: peer.namespace, **self.namespaces[peer.namespace]}
            if not selects(selector["namespaceSelector"], labels):
                return False
        elif peer.namespace != own_namespace:
            return False
        return selects(selector.get("podSelector", {}), peer.labels)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A `LabelSelector` of Kubernetes; an empty one selects everything."""
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        _OPERATORS[term["operator"]](labels.get(term["key"]), term.get("values", ()))
        for term in selector.get("matchExpressions", ())
    )


_OPERATORS = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
}


def _applies(policy: Mapping[str, Any], pod: Pod, direction: str) -> bool:
    spec = policy["spec"]
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and direction in spec["policyTypes"] and selects(spec["podSelector"], pod.labels)


def _is_open(rule: Mapping[str, Any], port: Port) -> bool:
    entries = rule.get("ports", ())
    return not entries or any(
        entry.get("protocol", "TCP") == port.protocol
        and entry.get("port", port.number) <= port.number <= entry.get("endPort", entry.get("port", port.number))
        for entry in entries
    )


def _in_block(block: Mapping[str, Any], address: str) -> bool:
    inside = ip_address(address) in ip_network(block["cidr"])
    return inside and not any(ip_address(address) in ip_network(part) for part in block.get("except", ()))
