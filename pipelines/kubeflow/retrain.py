"""The Kubeflow pipeline, generated from `dvc.yaml`: one task per stage, the same names, the same edges.

A task's name is the stage's address with `@` written as `-`, since Kubeflow allows only lower-case letters, digits
and `-`: `alignment@synthetic` → `alignment-synthetic`. The address is the display name.

Each task runs `mer run --only STAGE` in the project's workspace (`task.py`). So DVC decides there too which stages are
up to date, keeps `dvc.lock` and gives the same hashes; Kubeflow's own cache is off. On a cluster the workspace is a
volume that all tasks and Ray pods mount, and the task of a heavy stage submits the same command to the RayCluster as a
Ray job (a Ray driver has to run on a node of its cluster). With KFP's local runner the workspace is a folder and Ray
runs beside it.

Before them the task `check` compares the workspace with what the pipeline was generated from: the same code, the same
stages and edges. The datasets are in the pipeline and not read at run time, since each has tasks and edges of its own,
which Kubeflow shows, retries and times; a pipeline that is out of date stops there within seconds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines import dag
from pipelines.code import code_sha256, running_code
from pipelines.kubeflow.place import PIPELINE
from pipelines.kubeflow.ray_job import JOBS_VARIABLE
from pipelines.kubeflow.server import Server, answering, connect
from pipelines.project import find_root, load
from pipelines.stage import RUN_ID_VARIABLE, timings
from pipelines.stages import stage_of

CHECK = "check"
SETTINGS = Path("infra") / "kubeflow.yaml"
USER = 1000  # of the image


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """How the tasks run on a cluster; `infra/kubeflow.yaml`.

    Attributes:
        image: the image with the environment and the code; KFP's local runner warns unless its name contains "python".
        workspace_claim, workspace: the volume claim with the project, and its mount path.
        ray_jobs_address: of the RayCluster's job server, for the stages that need Ray.
        token_secret, token_key: the secret with Ray's authentication token.
        retries: attempts after the first; stages are idempotent.
        timeout_s: stage → seconds before its pod is ended; `default` for the rest.
        resources: stage → {cpu, memory}; `default` for the rest.
        environment: variables for every task.
    """

    image: str
    workspace_claim: str
    workspace: str
    ray_jobs_address: str
    token_secret: str
    token_key: str
    retries: int
    timeout_s: Mapping[str, int]
    resources: Mapping[str, Mapping[str, str]]
    environment: Mapping[str, str]


def load_settings(root: Path) -> PipelineSettings:
    """Reads `infra/kubeflow.yaml`. Raises ConfigError: it is missing, or a key is unknown or missing."""
    path = root / SETTINGS
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        return PipelineSettings(**raw)
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise ConfigError("not the settings of the Kubeflow pipeline", where=str(path), seen=str(error)) from error


def task_name(address: str) -> str:
    """A stage's KFP task name."""
    return address.replace("@", "-").replace("_", "-").lower()


def compile_to(path: Path, root: Path | None = None) -> str:
    """Writes the pipeline for a cluster as YAML (one document of the pipeline, one of its Kubernetes parts)."""
    from kfp import compiler

    root = root or find_root()
    nodes = dag.read(root)
    settings = load_settings(root)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError("KFP writes YAML", where="--output", seen=str(path), allowed="a name ending in .yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(build(nodes, settings), package_path=str(path))
    return f"{path}: {len(nodes)} tasks: {', '.join(task_name(node.address) for node in nodes)}"


def build(nodes: Sequence[dag.Node], settings: PipelineSettings, *, cluster: bool = True) -> Any:
    """The pipeline of a resolved DAG, which names the code of this process.

    Its parameters are the workspace; `only`, addresses of stages, to which a run is limited unless it is empty; and
    `assignments`, a JSON list of `KEY=VALUE` that are written into `params.yaml` first.

    Args:
        nodes: the DAG in running order.
        settings: how tasks run on a cluster.
        cluster: False leaves out the settings for Kubernetes.
    """
    from kfp import dsl

    edges = json.dumps({node.address: list(node.upstream) for node in nodes})
    code = code_sha256(running_code())

    def pipeline(workspace: str = settings.workspace, only: str = "", assignments: str = "[]") -> None:
        check = _component(check_task, CHECK, settings.image)(
            workspace=workspace, edges=edges, code=code, assignments=assignments
        )
        _prepare(check, CHECK, settings, cluster=cluster)
        tasks: dict[str, Any] = {}
        for node in nodes:
            task = _component(stage_task, task_name(node.address), settings.image)(
                stage=node.address, workspace=workspace, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, code=code, only=only
            )
            _prepare(task, node.address, settings, cluster=cluster)
            task.after(*([tasks[name] for name in node.upstream] or [check]))
            tasks[node.address] = task

    return dsl.pipeline(
        _typed(pipeline),
        name=PIPELINE,
        description="From clips to a registered model version; generated from dvc.yaml.",
    )


def _prepare(task: Any, address: str, settings: PipelineSettings, *, cluster: bool) -> None:
    task.set_caching_options(False)
    if cluster:
        task.set_display_name(address)
        _on_cluster(task, address.partition("@")[0], settings)


def run_local(workspace: Path | None = None) -> int:
    """Runs the pipeline with KFP's local runner: one subprocess per task, in this environment, one Ray for all.

    Args:
        workspace: the project folder to work in; by default the project of the current folder.

    Returns:
        0, or the exit code of the stage that failed; its output has been printed.
    """
    from kfp import local

    from pipelines.ray_head import ray_head
    from pipelines.reproduce import environment
    from pipelines.run import failure, make_plan

    layout = Layout(find_root(workspace))
    params = load(layout.root)
    plan = make_plan(layout, params)
    pipeline = build(dag.read(layout.root), load_settings(layout.root), cluster=False)
    run_id = uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(_environment({**environment(), RUN_ID_VARIABLE: run_id}))
        if plan.needs_ray:
            stack.enter_context(ray_head(params.ray))
        scratch = str(layout.state / "kfp")
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=scratch, raise_on_error=True)
        try:
            pipeline(workspace=str(layout.root))
        except RuntimeError as error:
            print(f"{PIPELINE}: {error}", file=sys.stderr)
            return failure(timings(layout, run_id))
    return 0


def submit(server: Server, root: Path | None = None) -> str:
    """Starts one run of the pipeline on a Kubeflow Pipelines server and returns its address."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / f"{PIPELINE}.yaml"
        compile_to(package, root)
        return start(server, package)


def start(server: Server, package: Path) -> str:
    """Starts one run of a compiled pipeline in the server's namespace and returns its address."""
    client = connect(server)
    with answering(server):
        result = client.create_run_from_pipeline_package(
            str(package), enable_caching=False, namespace=server.namespace, service_account=server.service_account
        )
    return f"{server.host}/#/runs/details/{result.run_id}"


def stage_task(stage: str, workspace: str, run_id: str, code: str, only: str) -> None:
    """Runs one stage in the workspace. It is the body of a task, so it has its own imports."""
    import signal
    import subprocess
    import sys

    # -P: the code of this environment, not that of the current folder. Their hashes are compared.
    mer = [sys.executable, "-P", "-m", "pipelines.cli"]
    arguments = ["kfp", "task", stage, "--run-id", run_id, "--code", code, "--only", only]
    process = subprocess.Popen([*mer, *arguments], cwd=workspace)
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    if process.wait() != 0:
        sys.exit(process.returncode)


def check_task(workspace: str, edges: str, code: str, assignments: str) -> None:
    """Compares the workspace with the pipeline. It is the body of a task, so it has its own imports."""
    import subprocess
    import sys

    mer = [sys.executable, "-P", "-m", "pipelines.cli"]
    arguments = ["kfp", "check", "--edges", edges, "--code", code, "--settings", assignments]
    done = subprocess.run([*mer, *arguments], cwd=workspace, check=False)
    if done.returncode != 0:
        sys.exit(done.returncode)


def _component(function: Callable[..., None], name: str, image: str) -> Callable[..., Any]:
    from kfp import dsl

    component = dsl.component(_typed(function), base_image=image, install_kfp_package=False)
    component.component_spec.name = name  # by default the name of the function, which all tasks share
    component.name = name
    return component


def _typed(function: Callable[..., None]) -> Callable[..., None]:
    """The function with types as annotations: KFP reads annotations, and postponed ones are strings."""
    function.__annotations__ = {**get_type_hints(function), "return": None}
    return function


def _on_cluster(task: Any, stage: str, settings: PipelineSettings) -> None:
    from kfp import kubernetes

    resources = settings.resources.get(stage, settings.resources["default"])
    task.set_cpu_request(resources["cpu"]).set_cpu_limit(resources["cpu"])
    task.set_memory_request(resources["memory"]).set_memory_limit(resources["memory"])
    task.set_retry(num_retries=settings.retries, backoff_duration="60s", backoff_factor=2.0)
    for name, value in settings.environment.items():
        task.set_env_variable(name, value)
    # KFP leaves this to the author of a task, and a namespace that enforces `restricted` refuses a pod without it. User
    # and group are the image's, those of the Ray pods that share the workspace.
    kubernetes.set_security_context(task, run_as_user=USER, run_as_group=USER, run_as_non_root=True)
    # The network policy lets pods with this label reach Ray.
    kubernetes.add_pod_label(task, label_key="app.kubernetes.io/part-of", label_value="mer")
    kubernetes.mount_pvc(task, pvc_name=settings.workspace_claim, mount_path=settings.workspace)
    kubernetes.set_timeout(task, settings.timeout_s.get(stage, settings.timeout_s["default"]))
    if stage != CHECK and stage_of(stage).needs_ray:
        task.set_env_variable(JOBS_VARIABLE, settings.ray_jobs_address)
        task.set_env_variable("RAY_AUTH_MODE", "token")
        kubernetes.use_secret_as_env(
            task, secret_name=settings.token_secret, secret_key_to_env={settings.token_key: "RAY_AUTH_TOKEN"}
        )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
