"""One run of the pipeline as tasks that share no folder: `begin`, `run_stage` for each stage, `finish`.

A task clones the run's commit, puts the lock together from the parts that the tasks before it left, pulls what its
stage reads, lets DVC run the stage, pushes the outputs, and leaves its part of the lock. The last task commits the
whole lock to the branch `retrain/<run>`. A laptop that checks that branch out and runs `dvc pull` has everything, and
`mer run` there finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from components.contracts.atomic import read_json
from components.contracts.layout import Layout
from pipelines import dag
from pipelines.code import check_code
from pipelines.loop import storage
from pipelines.loop.clone import FILE, Clone
from pipelines.loop.lock import merged, part_of, stages_of
from pipelines.retraining.changes import MISSING
from pipelines.retraining.decide import Decision
from pipelines.retraining.gather import read_lock
from pipelines.run import run_alone, set_values
from pipelines.stages import STAGES
from pipelines.summary import FIGURES

EVALUATE = "evaluate"
BRANCH = "retrain/{run_id}"


def begin(repository: str, branch: str, folder: Path, *, run_id: str, assignments: Sequence[str] = ()) -> Clone:
    """Clones the newest commit of a branch; settings for this run are committed on top, so that no task works on files
    that no commit has.

    Raises:
        ConfigError: a setting is wrong.
        UnavailableError: the repository cannot be reached.
    """
    clone = Clone.make(repository, folder, run_id=run_id, commit=f"origin/{branch}")
    if assignments:
        set_values(Layout(folder), assignments)
        clone.commit(["params.yaml"], f"Settings of {run_id}: {' '.join(assignments)}")
        clone.push_base()
    storage.use_shared_cache(folder)
    return clone


def pull_inputs(folder: Path) -> None:
    """Brings the inputs of the last run, with which the decision compares those of now."""
    if dag.ALWAYS in read_lock(folder):
        storage.pull(folder, [dag.ALWAYS], optional=True)


def run_stage(repository: str, folder: Path, *, commit: str, run_id: str, stage: str, code: str) -> int:
    """Runs one stage in a clone of its own; returns its exit code.

    A retry of a task that was done finds its part and does nothing.

    Raises:
        ConfigError: the code of the commit is not the code that runs.
        UnavailableError: the repository or the DVC remote cannot be reached.
    """
    clone = Clone.make(repository, folder, run_id=run_id, commit=commit)
    check_code(folder, code)
    name = ref_name(stage)
    parts = clone.parts()
    if name in parts:
        print(f"{stage}: an earlier attempt has done it")
        return 0
    storage.use_shared_cache(folder)
    nodes = {node.address: node for node in dag.read(folder)}
    _merge(folder, parts, tuple(nodes))
    node = nodes[stage]
    storage.pull(folder, node.upstream)
    if stage != dag.ALWAYS and not _changed(folder, node):
        print(f"{stage}: up to date")
        return 0
    recorded = read_lock(folder)
    also = [other for other in nodes if other.partition("@")[0] in STAGES[node.stage].reads and other in recorded]
    storage.pull(folder, also)
    if stage in recorded:  # a stage that keeps its outputs goes on from them
        storage.pull(folder, [stage], optional=True)
    if exit_code := run_alone(stage, root=folder):
        return exit_code
    part = part_of((folder / FILE).read_text(encoding="utf-8"), stage)
    if stages_of(part)[stage] != recorded.get(stage):
        storage.push(folder, [stage])
        clone.leave(name, part)
    return 0


def finish(
    repository: str, folder: Path, *, commit: str, run_id: str, decision: Decision, push_options: Sequence[str] = ()
) -> str:
    """Commits the whole lock to the run's branch and pushes it; returns a line about it.

    Args:
        repository, folder, commit, run_id: as for the stages.
        decision: why the run was started.
        push_options: for the server: GitLab opens a merge request for `merge_request.create`.

    Raises:
        UnavailableError: the repository cannot be reached.
    """
    clone = Clone.make(repository, folder, run_id=run_id, commit=commit)
    parts = clone.parts()
    if not parts:
        return "no stage had to run: nothing to commit"
    storage.use_shared_cache(folder)
    order = tuple(node.address for node in dag.read(folder))
    _merge(folder, parts, order)
    why = "\n".join(str(evidence) for evidence in decision.causes)
    figures = _figures(folder) if EVALUATE in parts else ""
    clone.commit([FILE], "\n\n".join(text for text in (decision.title, why, figures) if text))
    branch = BRANCH.format(run_id=run_id)
    clone.push(branch, push_options)
    return f"pushed {branch}: {len(parts)} of {len(order)} stages ran"


def ref_name(address: str) -> str:
    """A stage's name in a ref, in which some characters are not allowed."""
    return "".join(letter if letter.isalnum() or letter in "-_" else f"%{ord(letter):x}" for letter in address)


def _merge(folder: Path, parts: dict[str, str], order: Sequence[str]) -> None:
    path = folder / FILE
    base = path.read_text(encoding="utf-8") if path.is_file() else ""
    if parts:
        path.write_text(merged(base, parts.values(), order), encoding="utf-8")


def _changed(folder: Path, node: dag.Node) -> bool:
    """Whether DVC would run the stage for something else than outputs that are only elsewhere."""
    own = (difference for difference in dag.differences(folder) if difference.address == node.address)
    return any(not (difference.is_output and difference.state in MISSING) for difference in own)


def _figures(folder: Path) -> str:
    """The headline figures of the evaluation, for the message of the commit."""
    storage.pull(folder, [EVALUATE])
    metrics = read_json(Layout(folder).evaluated / "metrics.json")
    figures = metrics[metrics.get("level", "clip")]
    return ", ".join(f"{words} {figures[name]['value']:.3f}" for name, (words, _) in FIGURES.items() if name in figures)
