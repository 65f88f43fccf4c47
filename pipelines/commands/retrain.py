"""`mer retrain`: trains again where there is a cause, and records why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines.commands.versions.verified import user
from pipelines.project import find_root, load

if TYPE_CHECKING:
    from pipelines.kubeflow.server import Server


def run(*, if_needed: bool, dry_run: bool, as_json: bool, server: Server | None = None) -> int:
    """Decides, prints the decision, and carries it out: here, or as a run on a Kubeflow server.

    Args:
        if_needed: only where there is a cause; otherwise the caller is one more.
        dry_run: decide and print, nothing else.
        as_json: prints the decision as one line of JSON.
        server: where to run; None: here.

    Returns:
        0 where nothing was to do, too; else the exit code of the run.
    """
    from pipelines.retraining.gather import decision_of
    from pipelines.retraining.record import record

    layout = Layout(find_root())
    params = load(layout.root)
    decision = decision_of(layout, params, asked_by=None if if_needed else user())
    print(decision.to_json() if as_json else decision, flush=True)  # before what the stages print
    if dry_run:
        return 0
    if decision.kind == "retrain":
        if server is not None:
            from pipelines.kubeflow import generate

            print(generate.submit(server, layout.root, decision=decision))
            return 0
        from pipelines import run as pipeline

        if code := pipeline.run(root=layout.root):
            return code
    record(layout, params, decision)
    return 0


def report_drift(text: str) -> None:
    """Notes on the served version that what it is asked has drifted. Raises ConfigError: no version is served."""
    from pipelines.retraining.record import report_drift as note

    layout = Layout(find_root())
    params = load(layout.root)
    number = note(layout, params, text)
    if not number:
        raise ConfigError(
            "no version is served, so there is nothing to note this on",
            where=f"model {params.served_model}, alias {params.rollout.alias}",
            remedy="`mer promote VERSION` gives a version the alias",
        )
    print(f"Noted on version {number}; the next `mer retrain --if-needed` takes it into account.")
