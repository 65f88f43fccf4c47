"""The Kubeflow pipeline, generated from `dvc.yaml`: one task per stage, the same names, the same edges.

A task's name is the stage's address with `@` written as `-`, since Kubeflow allows only lower-case letters, digits
and `-`: `alignment@synthetic` → `alignment-synthetic`. The address is the display name.

Each task runs `mer run --only STAGE` in the project's workspace (`task.py`). So DVC decides there too which stages are
up to date, keeps `dvc.lock` and gives the same hashes; Kubeflow's own cache is off. On a cluster the workspace is a
volume that all tasks and Ray pods mount, and the task of a heavy stage submits the same command to the RayCluster as a
Ray job (a Ray driver has to run on a node of its cluster). With KFP's local runner the workspace is a folder and Ray
runs beside it. Where the settings name a repository, tasks share no folder: each clones it (`pipelines/loop`), and the
task `finish` pushes the lock to a branch.

Before them the task `check` compares the workspace with what the pipeline was generated from: the same code, the same
stages and edges. The datasets are in the pipeline and not read at run time, since each has tasks and edges of its own,
which Kubeflow shows, retries and times; a pipeline that is out of date stops there within seconds. Then it decides
whether there is a cause to train (`pipelines/retraining`); where there is none, the run skips the rest and succeeds.
When the run has ended, in whatever way, the task `report` cleans up and tells (`report.py`).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from pipelines import dag
from pipelines.code import code_sha256, running_code
from pipelines.commands.versions.verified import user
from pipelines.kubeflow import task as tasks_of_pipeline
from pipelines.kubeflow.bodies import check_task, finish_task, report_task, stage_task
from pipelines.kubeflow.place import PIPELINE
from pipelines.kubeflow.ray_job import JOBS_VARIABLE
from pipelines.kubeflow.report import WEBHOOK_VARIABLE
from pipelines.kubeflow.server import Server, answering, connect
from pipelines.kubeflow.settings import PipelineSettings, load_settings
from pipelines.loop.storage import CACHE_VARIABLE
from pipelines.project import find_root, load
from pipelines.retraining.decide import Decision
from pipelines.stage import RUN_ID_VARIABLE, timings
from pipelines.stages import STAGES, stage_of

CHECK, FINISH, REPORT = "check", "finish", "report"
# The first task's output with the kind of the decision. KFP's local runner finds no output of another name in a
# condition.
KIND = "Output"
OWN_TASKS = (CHECK, FINISH, REPORT)
# Git asks this for a user and a password; the token stays in the environment and is in no file and no address.
HELPER = '!f() { test "$1" = get && echo username=oauth2 && echo password=$MER_GIT_TOKEN; }; f'
GIT_PASSWORD = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "credential.helper", "GIT_CONFIG_VALUE_0": HELPER}
USER = 1000  # of the image


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

    Its parameters are the workspace; `only`, addresses of stages, to which a run is limited unless it is empty;
    `assignments`, a JSON list of `KEY=VALUE` that are written into `params.yaml` first; and `decision`, which the first
    task makes unless it is given.

    Args:
        nodes: the DAG in running order.
        settings: how tasks run on a cluster.
        cluster: False leaves out the settings for Kubernetes.
    """
    from kfp import dsl

    edges = json.dumps({node.address: list(node.upstream) for node in nodes})
    code = code_sha256(running_code())

    repository = "" if settings.git is None else settings.git.repository
    run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER

    def added(function: Callable[..., None], name: str, **arguments: Any) -> Any:
        task = _component(function, name if name in OWN_TASKS else task_name(name), settings.image)(**arguments)
        _prepare(task, name, settings, cluster=cluster)
        return task

    def stages(plan: Any, workspace: str, only: str) -> None:
        tasks: dict[str, Any] = {}
        shared = {"workspace": workspace, "run_id": run_id, "plan": plan, "repository": repository}
        for node in nodes:
            task = added(stage_task, node.address, stage=node.address, code=code, only=only, **shared)
            task.after(*(tasks[name] for name in node.upstream))
            tasks[node.address] = task
        if settings.git is not None:
            last = added(finish_task, FINISH, push_options=json.dumps(list(settings.git.push_options)), **shared)
            last.after(*tasks.values())

    def pipeline(
        workspace: str = settings.workspace, only: str = "", assignments: str = "[]", decision: str = ""
    ) -> None:
        report = added(report_task, REPORT, workspace=workspace, run_id=run_id, repository=repository)
        with dsl.ExitHandler(report, name="run"):
            check = added(
                check_task,
                CHECK,
                workspace=workspace,
                edges=edges,
                code=code,
                assignments=assignments,
                decision=decision,
                only=only,
                run_id=run_id,
                repository=repository,
                branch="" if settings.git is None else settings.git.branch,
            )
            with dsl.If(check.outputs[KIND] == "retrain", name="retrain"):
                stages(check.outputs["plan"], workspace, only)

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
    from pipelines.repro import environment
    from pipelines.run import failure, make_plan

    layout = Layout(find_root(workspace))
    params = load(layout.root)
    plan = make_plan(layout, params)
    settings = replace(load_settings(layout.root), git=None)  # here the tasks share this folder
    pipeline = build(dag.read(layout.root), settings, cluster=False)
    run_id = uuid.uuid4().hex
    with ExitStack() as stack:
        stack.enter_context(_environment({**environment(), RUN_ID_VARIABLE: run_id}))
        if plan.needs_ray:
            stack.enter_context(ray_head(params.ray))
        scratch = str(layout.state / "kfp")
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=scratch, raise_on_error=True)
        try:
            pipeline(workspace=str(layout.root), decision=tasks_of_pipeline.asked(user()).to_json())
        except RuntimeError as error:
            print(f"{PIPELINE}: {error}", file=sys.stderr)
            return failure(timings(layout, run_id))
    return 0


def submit(server: Server, root: Path | None = None, *, decision: Decision | None = None) -> str:
    """Starts one run of the pipeline on a Kubeflow Pipelines server and returns its address.

    Args:
        server: the server.
        root: the project; found from the current folder when left out.
        decision: why, which names the run; by default whoever calls this wants it.
    """
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / f"{PIPELINE}.yaml"
        compile_to(package, root)
        return start(server, package, decision or tasks_of_pipeline.asked(user()))


def start(server: Server, package: Path, decision: Decision) -> str:
    """Starts one run of a compiled pipeline in the server's namespace and returns its address."""
    client = connect(server)
    with answering(server):
        result = client.create_run_from_pipeline_package(
            str(package),
            arguments={"decision": decision.to_json()},
            run_name=f"{decision.title} {datetime.now(UTC):%Y-%m-%d %H:%M}",
            enable_caching=False,
            namespace=server.namespace,
            service_account=server.service_account,
        )
    return f"{server.host}/#/runs/details/{result.run_id}"


def _component(function: Callable[..., None], name: str, image: str) -> Callable[..., Any]:
    from kfp import dsl

    component = dsl.component(_typed(function), base_image=image, install_kfp_package=False)
    component.component_spec.name = name  # by default the name of the function, which all tasks share
    component.name = name
    return component


def _typed(function: Callable[..., None]) -> Callable[..., None]:
    """The function with types as annotations: KFP reads annotations, and postponed ones are strings."""
    from kfp import dsl

    hints = get_type_hints(function, localns={"dsl": dsl})
    function.__annotations__ = {**hints, "return": None if hints["return"] is type(None) else hints["return"]}
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
    kubernetes.set_timeout(task, settings.timeout_s.get(stage, settings.timeout_s["default"]))
    _workspace(task, settings)
    on_ray = stage in STAGES and stage_of(stage).needs_ray
    if settings.git is None and (on_ray or stage == REPORT):  # where tasks share no folder, Ray runs in the task
        task.set_env_variable(JOBS_VARIABLE, settings.ray_jobs_address)
        task.set_env_variable("RAY_AUTH_MODE", "token")
        kubernetes.use_secret_as_env(
            task, secret_name=settings.token_secret, secret_key_to_env={settings.token_key: "RAY_AUTH_TOKEN"}
        )
    if settings.login_secret:
        keys = {name: name for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")}
        kubernetes.use_secret_as_env(task, secret_name=settings.login_secret, secret_key_to_env=keys)
    if stage == REPORT and settings.report_secret:
        kubernetes.use_secret_as_env(
            task, secret_name=settings.report_secret, secret_key_to_env={"url": WEBHOOK_VARIABLE}
        )


def _workspace(task: Any, settings: PipelineSettings) -> None:
    """The folder that a task works in: the shared one, or one of its own with access to Git and DVC's remote."""
    from kfp import kubernetes

    if settings.workspace_claim:
        kubernetes.mount_pvc(task, pvc_name=settings.workspace_claim, mount_path=settings.workspace)
    else:
        kubernetes.empty_dir_mount(task, volume_name="workspace", mount_path=settings.workspace)
    if settings.git is None:
        return
    if settings.workspace_claim:
        task.set_env_variable(CACHE_VARIABLE, f"{settings.workspace}/dvc-cache")
    if settings.git.secret:
        keys = {key: key for key in settings.git.keys}
        kubernetes.use_secret_as_env(task, secret_name=settings.git.secret, secret_key_to_env=keys)
    for name, value in GIT_PASSWORD.items():
        task.set_env_variable(name, value)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
