"""The state of the served application, read from Ray Serve at every step and never cached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.contracts.errors import ConfigError
from components.serving.assignment import Assignment

Phase = Literal["absent", "rolling", "running", "failed"]

# Ray Serve's application states. UNHEALTHY means that replicas died after they had started; Serve replaces them itself.
PHASES: dict[str, Phase] = {
    "NOT_STARTED": "absent",
    "DELETING": "rolling",
    "DEPLOYING": "rolling",
    "RUNNING": "running",
    "UNHEALTHY": "rolling",
    "DEPLOY_FAILED": "failed",
}
ERROR_MARK = "components.contracts.errors."
MAX_MESSAGE_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class ServedApplication:
    """The present state of the application.

    Attributes:
        phase: absent (no application), rolling (replicas are changing), running (all replicas follow `applied`), or
            failed (they could not).
        applied: the version last deployed to the replicas; None without one.
        message: Serve's message when it failed.
    """

    phase: Phase
    applied: Assignment | None = None
    message: str = ""


def actual_of(details: Mapping[str, Any], application: str, deployment: str) -> ServedApplication:
    """The state of one application in the report of Serve's controller."""
    reported = details.get("applications", {}).get(application)
    if not reported:
        return ServedApplication(phase="absent")
    config = reported.get("deployed_app_config") or {}
    applied = None
    for entry in config.get("deployments", ()):
        if entry.get("name") == deployment and entry.get("user_config"):
            try:
                applied = Assignment.of(entry["user_config"])
            except ConfigError:
                applied = None  # a foreign configuration; it is replaced
    message = str(reported.get("message") or "")
    for entry in reported.get("deployments", {}).values():
        message = str(entry.get("message") or "") or message
    phase = PHASES.get(str(getattr(reported["status"], "value", reported["status"])), "rolling")
    return ServedApplication(phase=phase, applied=applied, message=plain(message))


def plain(message: str) -> str:
    """The informative line of a Serve message with stack traces: the project's own error, else the last line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    own = [line.split(ERROR_MARK, maxsplit=1)[1] for line in lines if ERROR_MARK in line]
    # Without the class name: "BundleError: the golden examples do not hold".
    text = own[-1].split(": ", maxsplit=1)[-1] if own else (lines[-1] if lines else "")
    return text[:MAX_MESSAGE_CHARACTERS]
