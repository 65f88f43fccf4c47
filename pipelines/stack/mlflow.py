"""MLflow as `infra/overlays/prod-postgres` runs it: command, settings and login are read from the manifests there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.errors import ConfigError
from pipelines.kubeflow import kustomize
from pipelines.stack.place import USER, WEBHOOK_KEY, Stack

OVERLAY = Path("infra") / "overlays" / "prod-postgres"
NAME, LOGIN = "mer-mlflow", "mer-mlflow-login"
TIMEOUT_S = 10.0
# What differs on this machine: the address, since everything is on loopback, and where the file of the login lies.
LOGIN_VARIABLE = "MLFLOW_AUTH_CONFIG_PATH"
# Key of a secret of the cluster → the stack's own.
SECRETS = {
    ("mer-mlflow-admin", "password"): "admin",
    ("mer-mlflow-session", "key"): "session",
    ("mer-mlflow-database", "password"): "database",
    ("mer-webhook", "encryption-key"): WEBHOOK_KEY,
}


def container(code: Path) -> tuple[Mapping[str, Any], str]:
    """The container of MLflow in production, and the file of its login."""
    manifests = kustomize.render(code / OVERLAY)
    deployment = kustomize.find(manifests, "Deployment", NAME)
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    return server, kustomize.find(manifests, "ConfigMap", LOGIN)["data"]["basic_auth.ini"]


def command(stack: Stack) -> list[str]:
    """What starts the server: the container's command on a port of loopback."""
    server, login = container(stack.code)
    (stack.folder / "basic_auth.ini").write_text(login)
    here = {"--host": "127.0.0.1", "--port": str(stack.ports["mlflow"])}
    arguments = [_given_here(argument, here) for argument in server["args"]]
    return [sys.executable, "-m", *server["command"], *arguments]


def environment(stack: Stack) -> dict[str, str]:
    """The container's variables, with the stack's secrets for the cluster's."""
    server, _ = container(stack.code)
    variables = {entry["name"]: _value(entry, stack) for entry in server["env"]}
    own = {
        LOGIN_VARIABLE: str(stack.folder / "basic_auth.ini"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return stack.environment(**{**stack.database, **stack.bucket, **variables, **own})


def ready(stack: Stack) -> bool:
    """Whether it answers; makes the pipeline's user then, as the administrator does."""
    import httpx

    user = {"username": USER, "password": stack.secrets["pipeline"]}
    admin = ("admin", stack.secrets["admin"])
    try:
        made = httpx.post(
            f"{stack.tracking}/api/2.0/mlflow/users/create", json=user, auth=admin, timeout=TIMEOUT_S, trust_env=False
        )
    except httpx.HTTPError:
        return False
    return made.status_code == httpx.codes.OK or "RESOURCE_ALREADY_EXISTS" in made.text


def _given_here(argument: str, here: Mapping[str, str]) -> str:
    option, _, _ = argument.partition("=")
    return f"{option}={here[option]}" if option in here else argument


def _value(entry: Mapping[str, Any], stack: Stack) -> str:
    if "value" in entry:
        return str(entry["value"])
    reference = entry["valueFrom"]["secretKeyRef"]
    secret = SECRETS.get((reference["name"], reference["key"]))
    if secret is None:
        raise ConfigError(
            "the stack has no such secret",
            where=f"{OVERLAY}: {NAME}: {entry['name']}",
            seen=f"{reference['name']}: {reference['key']}",
            allowed=", ".join(map(": ".join, SECRETS)),
            remedy="Add it to SECRETS in pipelines/stack/mlflow.py",
        )
    return stack.secrets[secret]
