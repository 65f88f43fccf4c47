"""The work of the pipeline's tasks: `mer kfp check` for the first one, `mer kfp task` for a stage, `mer kfp finish`.

They share a workspace, a folder that all of them mount. Where a repository is named, each works in a clone of its own
instead (`pipelines/loop`).
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines import dag
from pipelines.code import check_code
from pipelines.kubeflow import ray_job
from pipelines.loop import run as loop
from pipelines.project import find_root, load
from pipelines.retraining.decide import Cause, Decision, Evidence
from pipelines.run import REGISTER, compare_with_champion, run_alone, set_values
from pipelines.stage import RUN_ID_VARIABLE

MER = ("python", "-P", "-m", "pipelines.cli")  # -P: the code of the image, not of the current folder


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What the first task tells the others: the decision, and the commit that they clone, if they do."""

    decision: Decision
    commit: str = ""

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"decision": self.decision.to_json(), "commit": self.commit})

    @classmethod
    def from_json(cls, text: str) -> RunPlan:
        """What `to_json` wrote."""
        value = json.loads(text)
        return cls(decision=Decision.from_json(value["decision"]), commit=value["commit"])


def asked(by: str) -> Decision:
    """The decision of a person."""
    return Decision(kind="retrain", causes=(Evidence(cause=Cause.ASKED, what=f"by {by}"),))


def begin(
    *,
    edges: str,
    code: str,
    settings: str,
    run_id: str,
    decision: str = "",
    only: str = "",
    repository: str = "",
    branch: str = "",
) -> RunPlan:
    """The first task: is the pipeline that of the project, and is there a cause to train? What it decides is printed.

    Args:
        edges, code, settings: as for `check`.
        run_id: of the Kubeflow run.
        decision: made by whoever started the run; empty: it is made here.
        only: addresses to which the run is limited, which then are asked for.
        repository, branch: of the project, where tasks share no folder.

    Raises:
        ConfigError: as `check`.
        UnavailableError: MLflow or the repository cannot be reached.
    """
    commit = ""
    if repository:
        clone = loop.begin(repository, branch, own_folder(), run_id=run_id, assignments=json.loads(settings))
        commit, root, settings = clone.git("rev-parse", "HEAD").strip(), clone.folder, "[]"
        loop.pull_inputs(root)
    else:
        root = find_root()
    print(check(edges=edges, code=code, settings=settings, root=root))
    if decision:
        made = Decision.from_json(decision)
    elif only:
        made = asked(f"a schedule, limited to {only}")
    else:
        made = decide_here(Layout(root))
    print(made, flush=True)
    return RunPlan(decision=made, commit=commit)


def decide_here(layout: Layout) -> Decision:
    """The decision about a project; where there is nothing to do, that is recorded at once."""
    from pipelines.retraining.gather import decision_of
    from pipelines.retraining.record import record

    params = load(layout.root)
    decision = decision_of(layout, params)
    if decision.kind != "retrain":
        record(layout, params, decision)
    return decision


def own_folder() -> Path:
    """A new folder for a clone, in the current one."""
    return Path(tempfile.mkdtemp(prefix="mer-", dir=Path.cwd()))


def run_stage(
    stage: str,
    *,
    run_id: str,
    code: str,
    only: str = "",
    plan: RunPlan | None = None,
    repository: str = "",
    root: Path | None = None,
) -> int:
    """Runs one stage of a pipeline run and returns its exit code. After the last one the decision is recorded.

    Args:
        stage, run_id, code, only, root: as for `compute`.
        plan: of the first task.
        repository: of the project, where tasks share no folder.

    Raises:
        ConfigError: the code is a different one.
        UnavailableError: the Ray cluster, the repository or the DVC remote does not answer.
    """
    if only and stage not in only.split():
        print(f"{stage}: not a part of this run, which is limited to {only}")
        return 0
    os.environ.setdefault(RUN_ID_VARIABLE, run_id)
    if repository and plan is not None:
        root = own_folder()
        exit_code = loop.run_stage(repository, root, commit=plan.commit, run_id=run_id, stage=stage, code=code)
    else:
        root = root or find_root()
        exit_code = compute(stage, run_id=run_id, code=code, root=root)
    if exit_code == 0 and stage == REGISTER:
        layout, params = Layout(root), load(root)
        compare_with_champion(layout, params)
        if plan is not None:
            from pipelines.retraining.record import record

            record(layout, params, plan.decision)
    return exit_code


def finish(*, run_id: str, plan: RunPlan, repository: str, push_options: Sequence[str] = ()) -> str:
    """The last task where tasks share no folder: the lock of the run goes to a branch. Errors as `loop.finish`."""
    folder = own_folder()
    return loop.finish(
        repository, folder, commit=plan.commit, run_id=run_id, decision=plan.decision, push_options=push_options
    )


def compute(stage: str, *, run_id: str, code: str, root: Path) -> int:
    """Runs one stage in the workspace and returns its exit code.

    On a cluster, where `MER_RAY_JOBS_ADDRESS` is set for a stage that needs Ray, it is a job of that Ray cluster.

    Args:
        stage: its address.
        run_id: of the Kubeflow run; with the stage it identifies the Ray job, which a retry then finds.
        code: the hash of the code that the pipeline names.
        root: the project.

    Raises:
        ConfigError: the code is a different one.
        UnavailableError: the Ray cluster does not answer.
    """
    check_code(root, code)
    address = os.environ.get(ray_job.JOBS_VARIABLE)
    if not address:
        return run_alone(stage, root=root)
    # There the image of the Ray pods computes: the same comparison, on that side.
    inside = shlex.join(["env", f"{RUN_ID_VARIABLE}={run_id}", *MER, "run", "--only", stage, "--code", code])
    return ray_job.run(
        ray_job.client(address),
        name=ray_job.submission_name(run_id, stage),
        entrypoint=f"sh -c {shlex.quote(f'cd {shlex.quote(str(root))} && exec {inside}')}",
    )


def check(*, edges: str, code: str, settings: str, root: Path | None = None) -> str:
    """Compares the workspace with what the pipeline was generated from, and writes the run's settings into it.

    Args:
        edges: address → addresses of the stages before it, as JSON.
        code: the hash of the code that the pipeline names.
        settings: a JSON list of `KEY=VALUE`.
        root: the project; found from the current folder when left out.

    Raises:
        ConfigError: the code or the DAG is a different one, or a setting is wrong. `params.yaml` is then as it was.
    """
    layout = Layout(root or find_root())
    check_code(layout.root, code)
    with _restored_on_error(layout.params):
        if assignments := json.loads(settings):
            set_values(layout, assignments)
        present = {node.address: list(node.upstream) for node in dag.read(layout.root)}
        compare(json.loads(edges), present)
    return f"the pipeline is that of this workspace: {len(present)} stages, code {code[:12]}"


def compare(pipeline: Mapping[str, Sequence[str]], project: Mapping[str, Sequence[str]]) -> None:
    """Raises ConfigError: the pipeline's tasks and edges are not those of the project's `dvc.yaml`."""
    lacks = [f"lacks {name}" for name in project if name not in pipeline]
    extra = [f"has {name}, which is gone" for name in pipeline if name not in project]
    common = (name for name in pipeline if name in project)
    moved = [f"has {name} after other stages" for name in common if pipeline[name] != project[name]]
    if lacks or extra or moved:
        raise ConfigError(
            "the pipeline is not that of dvc.yaml and params.yaml",
            where="the uploaded pipeline",
            seen="; ".join([*lacks, *extra, *moved]),
            remedy="Upload it anew: `mer schedule apply --host ADDRESS`",
        )


@contextmanager
def _restored_on_error(path: Path) -> Iterator[None]:
    before = path.read_bytes()
    try:
        yield
    except BaseException:
        if path.read_bytes() != before:
            path.write_bytes(before)
        raise
