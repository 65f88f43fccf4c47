"""The alerts ask for figures that there are, and Prometheus may read them."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.rollout import figures
from components.rollout.figures import CHAMPION, MEANING, RETRAINED, RETRAINED_AT_TAG, SERVED, read_figures
from components.rollout.versions import STATE
from components.tracking.versions import VersionInfo
from pipelines.kubeflow import kustomize
from pipelines.stack.prometheus import REMEDY
from tests.infra.network import Network
from tests.infra.pods import Pod
from tests.pipelines.projects import ROOT

MONITORING = kustomize.render(ROOT / "infra" / "prometheus")
RULES: list[dict[str, Any]] = [
    rule for group in kustomize.find(MONITORING, "PrometheusRule", "mer")["spec"]["groups"] for rule in group["rules"]
]
RAY = Pod(
    name="ray",
    namespace="mer",
    labels={"ray.io/is-ray-node": "yes", "app.kubernetes.io/component": "serving", "ray.io/node-type": "head"},
    spec={},
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_figures_that_are_exported(rule: dict[str, Any]) -> None:
    names = re.findall(r"\bray_mer_\w+", rule["expr"])
    assert names
    assert {name.removeprefix("ray_") for name in names} <= set(MEANING)
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_prometheus_alone_reads_them() -> None:
    policies = [
        item for item in [*kustomize.render(ROOT / "infra" / "base"), *MONITORING] if item["kind"] == "NetworkPolicy"
    ]
    network = Network(policies=policies, namespaces={"mer": {}, "monitoring": {}, "elsewhere": {}})
    prometheus = Pod(name="prometheus", namespace="monitoring", labels={}, spec={})
    assert network.connects(prometheus, RAY, 8080)
    assert not network.connects(prometheus, RAY, 6379)
    assert not network.connects(replace(prometheus, namespace="elsewhere"), RAY, 8080)
    assert network.connects(prometheus, RAY, 8000)
    for name in ("mer-ray", "mer-service"):
        monitor = kustomize.find(MONITORING, "PodMonitor", name)
        assert monitor["spec"]["selector"]["matchLabels"].items() <= RAY.labels.items()


def test_the_operators_alerts_of_the_service_are_those_of_the_rule_file() -> None:
    groups = yaml.safe_load((ROOT / "infra" / "monitoring" / "alerts.yaml").read_text())["groups"]
    assert kustomize.find(MONITORING, "PrometheusRule", "mer-service")["spec"]["groups"] == groups


def expressions(value: Any) -> Iterator[str]:
    """Every query of a dashboard."""
    if isinstance(value, dict):
        yield from (text for key, text in value.items() if key == "expr")
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from expressions(inner)


def of_dashboard(name: str) -> list[dict[str, Any]]:
    """Its queries as rules, which is what promtool reads."""
    queries = expressions(json.loads((ROOT / "infra" / "monitoring" / f"{name}.json").read_text()))
    texts = [query.replace("$__rate_interval", "1m") for query in queries]
    return [{"name": name, "rules": [{"record": f"panel_{k}", "expr": text} for k, text in enumerate(texts)]}]


GROUPS: dict[str, list[dict[str, Any]]] = {
    **{item["metadata"]["name"]: item["spec"]["groups"] for item in MONITORING if item["kind"] == "PrometheusRule"},
    **{name: of_dashboard(name) for name in ("dashboard", "training")},
}
# kube-state-metrics, docs/metrics of its version 2: the figures and the labels that are used.
KUBE_STATE = {
    "kube_cronjob_status_last_successful_time": {"cronjob"},
    "kube_pod_status_phase": {"namespace", "phase"},
}


def unknown_figures(rules: list[dict[str, Any]]) -> set[str]:
    """What queries ask for that neither the reconciler, nor Ray of the locked version (which comes with dashboards of
    its own), nor kube-state-metrics has."""
    import ray.dashboard.modules.metrics.dashboards as of_ray

    panels = "".join(path.read_text() for path in Path(of_ray.__file__).parent.glob("*.py"))
    known = {*re.findall(r"\bray_\w+", panels), *(f"ray_{name}" for name in MEANING), *KUBE_STATE}
    names = {name for rule in rules for name in re.findall(r"\b(?:ray|kube)_\w+(?=[{)\[])", rule["expr"])}
    assert names
    return names - known


def test_the_dashboard_of_training_asks_for_figures_that_there_are_and_a_misspelt_one_is_noticed() -> None:
    (group,) = of_dashboard("training")
    assert unknown_figures(group["rules"]) == set()
    for rule in group["rules"]:
        assert unknown_figures([rule]) == set()
    mistake = {"expr": 'sum(ray_node_cpu_count_{a="b"}) + max(ray_mer_last_good_retrainings)'}
    assert unknown_figures([mistake]) == {"ray_node_cpu_count_", "ray_mer_last_good_retrainings"}


def promtool(groups: list[dict[str, Any]], folder: Path) -> str:
    """What promtool says of rules."""
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    command = ["promtool", "check", "rules", str(folder / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason=REMEDY)
@pytest.mark.parametrize("name", GROUPS)
def test_promtool_reads_every_rule_and_query_and_notices_a_mistake(name: str, tmp_path: Path) -> None:
    assert promtool(GROUPS[name], tmp_path) == ""
    broken = copy.deepcopy(GROUPS[name])
    broken[0]["rules"][-1]["expr"] = f"rat({broken[0]['rules'][-1]['expr']}[1m])"
    assert "parse error" in promtool(broken, tmp_path)


@pytest.mark.parametrize(
    ("tag", "state", "expected"),
    [
        (
            "2026-03-01T02:00:00+00:00",
            "serving",
            {RETRAINED: datetime(2026, 3, 1, 2, tzinfo=UTC).timestamp(), CHAMPION: 5.0, SERVED: 1.0},
        ),
        ("yesterday", "refused", {CHAMPION: 5.0, SERVED: 0.0}),
        (None, None, {CHAMPION: 5.0, SERVED: 0.0}),
    ],
)
def test_figures_are_what_the_registry_says(
    tag: str | None, state: str | None, expected: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {} if tag is None else {RETRAINED_AT_TAG: tag}
    own = {} if state is None else {STATE: state}
    version = VersionInfo(name="served", version="1", tags=own, source="", created_ms=5000)
    monkeypatch.setattr(figures, "tags_of_model", lambda name, tracking_uri: tags if name == "mer" else {})
    monkeypatch.setattr(figures, "resolve", lambda name, alias, tracking_uri: version)
    assert read_figures(registered="mer", served="served", alias="champion", tracking_uri="x") == expected
