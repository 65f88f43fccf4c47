"""Prometheus with the rules of `infra/`, where it is installed: it asks the service, with a key, and Ray's nodes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from components.contracts.errors import UnavailableError
from components.runtime.local_http import answer_of
from pipelines.commands.service.mlflow_server import HOST
from pipelines.kubeflow import kustomize
from pipelines.stack.place import Stack

TIMEOUT_S = 5.0
HEALTHY = {"up", "ok"}  # of an address, of a rule
REMEDY = (
    "Install Prometheus, which brings promtool (Debian and Ubuntu: apt install prometheus), to have its part checked."
)
ALERTS = Path("infra") / "monitoring" / "alerts.yaml"
OPERATOR = Path("infra") / "prometheus"


def missing() -> str | None:
    """What to do where there is no Prometheus here."""
    return None if shutil.which("prometheus") and shutil.which("promtool") else REMEDY


def rules(code: Path) -> dict[str, Any]:
    """The rules for the operator (`PrometheusRule`) as a rule file of Prometheus."""
    return dict(kustomize.find(kustomize.render(code / OPERATOR), "PrometheusRule", "mer")["spec"])


def configuration(stack: Stack, key: Path) -> dict[str, Any]:
    """What Prometheus asks, and its rules.

    Args:
        stack: the addresses.
        key: the file of an API key with the scope `admin`.
    """
    ray = [f"{HOST}:{stack.ports[name]}" for name in ("ray metrics 1", "ray metrics 2")]
    return {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": [str(stack.code / ALERTS), str(stack.folder / "rules.yaml")],
        "scrape_configs": [
            {
                "job_name": "service",
                "authorization": {"credentials_file": str(key)},
                "static_configs": [{"targets": [f"{HOST}:{stack.ports['service']}"]}],
            },
            {"job_name": "ray", "static_configs": [{"targets": ray}]},
        ],
    }


def command(stack: Stack) -> list[str]:
    """What starts it; writes its configuration and has promtool check it. Raises UnavailableError: it is wrong."""
    from components.serving.http.api_keys import KeyFile, Scope

    key = stack.folder / "prometheus.key"
    key.touch(mode=0o600)
    key.write_text(KeyFile(stack.keys).create("prometheus", scopes=[Scope.ADMIN])[1])
    config = stack.folder / "prometheus.yaml"
    (stack.folder / "rules.yaml").write_text(yaml.safe_dump(rules(stack.code)))
    config.write_text(yaml.safe_dump(configuration(stack, key)))
    checked = subprocess.run(
        ["promtool", "check", "config", str(config)], capture_output=True, text=True, check=False
    )  # with the rules that it names
    if checked.returncode != 0:
        raise UnavailableError("promtool refuses the rules", where=str(ALERTS), seen=checked.stdout + checked.stderr)
    return [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={stack.folder / 'prometheus'}",
        f"--web.listen-address={HOST}:{stack.ports['prometheus']}",
    ]


def ready(stack: Stack) -> bool:
    """Whether it answers."""
    return answer_of(f"{stack.url('prometheus')}/-/ready", timeout_s=TIMEOUT_S) is not None


def state(stack: Stack) -> tuple[dict[str, str], dict[str, str]]:
    """Address → health of what it asks; name → health of its rules."""
    targets = _data(stack, "targets")["activeTargets"]
    groups = _data(stack, "rules")["groups"]
    return (
        {target["scrapeUrl"]: target["health"] for target in targets},
        {rule["name"]: rule["health"] for group in groups for rule in group["rules"]},
    )


def summary(stack: Stack) -> str:
    """One line on both."""
    targets, rules = state(stack)
    unwell = [name for name, health in {**targets, **rules}.items() if health not in HEALTHY]
    return f"{len(targets)} addresses and {len(rules)} rules, " + (f"not well: {unwell}" if unwell else "all well")


def has(stack: Stack, expression: str) -> bool:
    """Whether an expression has a value now."""
    return bool(_data(stack, f"query?query={expression}")["result"])


def _data(stack: Stack, path: str) -> dict[str, Any]:
    answer = answer_of(f"{stack.url('prometheus')}/api/v1/{path}", timeout_s=TIMEOUT_S)
    return {} if answer is None else dict(answer.json()["data"])
