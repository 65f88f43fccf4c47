"""`mer run`: the whole pipeline, `dvc repro` over `dvc.yaml`, with one Ray for all stages and a summary at the end."""

from __future__ import annotations

import fcntl
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.errors import MerError, UnavailableError
from components.contracts.layout import Layout
from components.tracking.client import check_reachable
from pipelines import dag, inputs, summary
from pipelines.memory import PeakMemory
from pipelines.project import find_root, load
from pipelines.quiet import quiet_libraries
from pipelines.ray_head import ray_head
from pipelines.repro import BUSY, reproduce
from pipelines.stage import PROFILE_VARIABLE, RUN_ID_VARIABLE, Timing, timings
from pipelines.stages import stage_of
from pipelines.start import INTERRUPTED

TRAIN, REGISTER = "train", "register"
PROFILE_STEPS = 5
FAILED_WITHOUT_REPORT = 1
BUSY_S = 10.0
EXIT_CODES = range(2, 8)  # of the tree of errors; DVC's own are others


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a run: all stages in scope, those that will or may run, and the reasons of the first of them."""

    scope: tuple[str, ...]
    pending: tuple[str, ...]
    reasons: dict[str, list[str]]

    @property
    def needs_ray(self) -> bool:
        """Whether one of the pending stages runs on Ray."""
        return any(stage_of(name.partition("@")[0]).needs_ray for name in self.pending)


def run(
    *,
    assignments: Sequence[str] = (),
    targets: Sequence[str] = (),
    force: bool = False,
    profile: bool = False,
    root: Path | None = None,
) -> int:
    """Brings the outputs up to date, prints the summary and returns the exit code.

    Args:
        assignments: values to write into `params.yaml` first, see `edit_params`.
        targets: stages to bring up to date with the stages they depend on; all when empty.
        force: also run unchanged stages.
        profile: write a trace of a training's steps, of as many as `runtime.profile_steps` has, else `PROFILE_STEPS`.
        root: the project; found from the current folder when left out.

    Raises:
        MerError: the configuration is wrong, or another run is active in this project.
    """
    quiet_libraries()
    layout = Layout(root or find_root())
    with only_run(layout):
        if assignments:
            set_values(layout, assignments)
        params = load(layout.root)
        plan = make_plan(layout, params, targets=targets, force=force)
        if profile and TRAIN not in plan.pending:
            print("No trace: nothing is to be trained (--force trains again).")
        if not plan.pending:
            print(f"Nothing has changed: all {len(plan.scope)} stages are up to date.")
            code = _register_if_lost(layout, params, plan)
            if code == 0:
                summary.print_results(layout, params)
            return code
        steps = params.runtime.profile_steps or PROFILE_STEPS
        variables = {PROFILE_VARIABLE: str(steps)} if profile else {}
        return _work(layout, params, plan, targets=targets, force=force, variables=variables)


def run_alone(name: str, *, root: Path | None = None) -> int:
    """Runs one stage through DVC and none before it, unless it is up to date; the body of a KFP task.

    Several may run at once in one project, in containers or on machines of their own (`lease.py`): each waits for
    DVC's lock, which is free while a stage runs. Where one of them works on this stage, it waits for that one to end,
    and then finds the stage up to date, or that it died.
    """
    layout = Layout(root or find_root())
    while (code := reproduce(layout.root, (name,), alone=True, shared=True)) == BUSY:
        print(f"{name}: a different process works on it; waiting", file=sys.stderr)
        time.sleep(BUSY_S)
    if code == 0:
        return 0
    targets = dag.resolve(
        dag.read(layout.root), name
    )  # only now, since it takes DVC a second; an unknown name ends here
    own = [timing for timing in timings(layout, os.environ.get(RUN_ID_VARIABLE, "")) if timing.stage in targets]
    return next((timing.exit_code for timing in own if timing.exit_code), FAILED_WITHOUT_REPORT)


def make_plan(layout: Layout, params: Params, *, targets: Sequence[str] = (), force: bool = False) -> Plan:
    """Refreshes `data/inputs` and compares the project with DVC's lock. Starts no stage; takes seconds.

    Raises:
        ConfigError: a target is not a stage, or `dvc.yaml` cannot be resolved.
        UnavailableError: a stage in scope needs MLflow, which does not answer. It is told before anything is done: most
            often the address is wrong, and evaluation and registration cannot do without. A server that goes away
            after this stops no training (`components/tracking/spooled.py`).
    """
    nodes = dag.read(layout.root)
    scope = tuple(node.address for node in nodes)
    if targets:
        addresses = [address for name in targets for address in dag.resolve(nodes, name)]
        scope = dag.with_upstream(nodes, addresses)
    if any(stage_of(name.partition("@")[0]).needs_tracking for name in scope):
        check_reachable(params.tracking, layout.root)
    inputs.write(params, layout)
    reasons = {name: why for name, why in dag.changed(layout.root).items() if name in scope}
    pending = scope if force else tuple(name for name in dag.with_downstream(nodes, reasons) if name in scope)
    return Plan(scope=scope, pending=pending, reasons=reasons)


def compare_with_champion(layout: Layout, params: Params) -> None:
    """Puts the comparison of the registered version with the champion on its page. The version is registered whatever
    becomes of that, so an error is told and no more."""
    from pipelines.commands.versions.gates import compare_last

    try:
        compare_last(params, layout)
    except MerError as error:
        print(f"mer run: the version was not compared with the champion: {error}", file=sys.stderr)


def _register_if_lost(layout: Layout, params: Params, plan: Plan) -> int:
    """Registers the version of `data/registered` again where MLflow does not have it; returns the exit code."""
    if REGISTER not in plan.scope or _in_registry(layout, params):
        return 0
    print("The registry does not contain the version of these outputs; registering it again.")
    code = reproduce(layout.root, (REGISTER,), force=True, alone=True)
    if code == 0:
        compare_with_champion(layout, params)
    return code


def _in_registry(layout: Layout, params: Params) -> bool:
    """Whether MLflow has the version of `data/registered`. DVC cannot check it: the registry is not a file."""
    from components.tracking.address import tracking_uri
    from components.tracking.versions import registered_version

    facts = read_json(layout.registered / "registered.json")
    uri = tracking_uri(params.tracking, layout.root)
    return registered_version(facts["model_name"], facts["bundle_sha256"], tracking_uri=uri) is not None


def _work(
    layout: Layout,
    params: Params,
    plan: Plan,
    *,
    targets: Sequence[str],
    force: bool,
    variables: Mapping[str, str],
) -> int:
    """`variables` are for the environment of the stages."""
    run_id = uuid.uuid4().hex
    os.environ.update({RUN_ID_VARIABLE: run_id, **variables})
    begin = time.monotonic()
    summary.print_plan(plan.scope, plan.pending, plan.reasons)
    memory = PeakMemory()
    try:
        with ExitStack() as stack:
            stack.enter_context(memory)
            if plan.needs_ray:
                stack.enter_context(ray_head(params.ray))
            code = reproduce(layout.root, targets, force=force)
    finally:
        for name in (RUN_ID_VARIABLE, *variables):
            os.environ.pop(name, None)
    done = timings(layout, run_id)
    if code != 0:
        return failure(done, code)
    if any(timing.stage == REGISTER for timing in done):
        compare_with_champion(layout, params)
    elif (code := _register_if_lost(layout, params, plan)) != 0:  # DVC may have had the outputs in its cache
        return code
    summary.print_results(layout, params)
    summary.print_timings(plan.scope, done, seconds=time.monotonic() - begin, peak_bytes=memory.peak_bytes)
    return 0


def failure(done: Sequence[Timing], code: int = FAILED_WITHOUT_REPORT) -> int:
    """Prints which stage stopped the run and why; returns its exit code. Raises KeyboardInterrupt if interrupted.

    Args:
        done: the records of the stages.
        code: the exit code of `reproduce`, used where the stage that failed left no record.
    """
    broken = next((timing for timing in done if timing.exit_code != 0), None)
    if broken is None:
        print("mer run: stopped; the message is above. Finished stages are kept.", file=sys.stderr)
        return code if code in EXIT_CODES else FAILED_WITHOUT_REPORT
    if broken.exit_code == INTERRUPTED:
        raise KeyboardInterrupt
    print(
        f"mer run: stopped in {broken.stage} after {broken.seconds:.0f} s: {broken.error}\n"
        "Finished stages are kept; `mer run` resumes here.",
        file=sys.stderr,
    )
    return broken.exit_code


def set_values(layout: Layout, assignments: Sequence[str]) -> None:
    """Writes values into `params.yaml` and prints the changes; errors as in `edit_params.apply`."""
    from components.datasets.registry import names
    from pipelines import edit_params

    lines = edit_params.apply(layout.params, assignments, names())
    for line in lines:
        print(f"params.yaml: {line}")
    if not lines:
        print("params.yaml has these values already")


@contextmanager
def only_run(layout: Layout) -> Iterator[None]:
    """Holds the project's run lock, which ends with the process. Raises UnavailableError when another run holds it."""
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / "run.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnavailableError(
                "another `mer run` is active in this project", where=str(layout.root), remedy="Wait for it, or stop it"
            ) from error
        yield
