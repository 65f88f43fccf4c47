"""The work of the pipeline's tasks: `mer kfp task` for a stage, `mer kfp check` for the task before all stages."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines import dag
from pipelines.code import check_code
from pipelines.kubeflow import ray_job
from pipelines.project import find_root
from pipelines.run import run_alone, set_values

MER = ("python", "-P", "-m", "pipelines.cli")  # -P: the code of the image, not of the current folder


def run_stage(stage: str, *, run_id: str, code: str, only: str = "", root: Path | None = None) -> int:
    """Runs one stage of a pipeline run and returns its exit code.

    On a cluster, where `MER_RAY_JOBS_ADDRESS` is set for a stage that needs Ray, it is a job of that Ray cluster.

    Args:
        stage: its address.
        run_id: of the Kubeflow run; with the stage it identifies the Ray job, which a retry then finds.
        code: the hash of the code that the pipeline names.
        only: addresses to which the run is limited; empty: it is not.
        root: the project; found from the current folder when left out.

    Raises:
        ConfigError: the code is a different one.
        UnavailableError: the Ray cluster does not answer.
    """
    if only and stage not in only.split():
        print(f"{stage}: not a part of this run, which is limited to {only}")
        return 0
    root = root or find_root()
    check_code(root, code)
    address = os.environ.get(ray_job.JOBS_VARIABLE)
    if not address:
        return run_alone(stage, root=root)
    # There the image of the Ray pods computes: the same comparison, on that side.
    inside = shlex.join([*MER, "run", "--only", stage, "--code", code])
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
