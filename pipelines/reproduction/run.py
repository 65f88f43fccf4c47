"""`mer reproduce`: trains a version again from its commit, configuration and data, and compares the two."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.atomic import read_json
from components.contracts.bundle_files import DESCRIPTION
from components.contracts.config import Params
from components.contracts.errors import BundleError, ConfigError, DataError
from components.contracts.layout import Layout
from components.runtime.alone import alone_in
from components.tracking.address import SQLITE, VARIABLE, tracking_uri
from components.tracking.client import Client, impatient, without_progress_bars
from components.tracking.origin import ORIGIN, Origin, hardware, software
from components.tracking.runs import Run
from components.tracking.versions import VersionInfo
from pipelines.commands.table import table
from pipelines.commands.versions.verified import find_version
from pipelines.project import find_root, load
from pipelines.repro import call, environment, terminated_like_interrupted
from pipelines.reproduction.checkout import EVALUATE, TRAIN, bring_data, check, check_out, discard, remove_unfinished
from pipelines.reproduction.compare import Weights, compare_weights, differences, moved, settings
from pipelines.run import set_values
from pipelines.stage import RUN_ID_VARIABLE
from pipelines.summary import FIGURES

DIFFERENT = 5
FOLDER_DIGITS = 16
# Settings of how it runs, which no stage depends on.
FREE = ("ray", "runtime")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A version as the registry has it: what its training was made from, and its verified bundle."""

    info: VersionInfo
    origin: Origin
    bundle: Path

    @property
    def name(self) -> str:
        """Of the version, in messages."""
        return f"{self.info.name} version {self.info.version}"


def run(version: str, *, assignments: Sequence[str] = (), keep: bool = False) -> int:
    """Trains a version again in `.mer/reproduce` and prints how the two compare.

    An interrupt (Ctrl-C, SIGTERM) names the checkout, and the same call goes on from there; one that was still being
    made is removed. The project's repository is only read: a checkout is a clone.

    Args:
        version: a number or an alias.
        assignments: values of the sections `runtime` and `ray` in place of the recorded ones, where this machine has
            fewer cores or no GPU.
        keep: leave the checkout where the weights are equal, too.

    Returns:
        0 where the weights are bit-equal, otherwise 5; where a stage failed, its exit code.

    Raises:
        BundleError: there is no such version, it does not record what it was made from, or its code has no commit.
        ConfigError: an assignment that would train a different model.
        DataError: the data that were brought are not those that the version records.
        UnavailableError: the commit, the data or MLflow cannot be had.
    """
    _check_assignments(assignments)
    without_progress_bars()
    impatient()
    layout = Layout(find_root())
    params = load(layout.root)
    recorded = find_recorded(version, params, layout, tracking_uri(params.tracking, layout.root))
    check(recorded.origin, layout.root, where=recorded.name)
    layout.reproduced.mkdir(parents=True, exist_ok=True)
    folder = layout.reproduced / recorded.bundle.name[:FOLDER_DIGITS]
    with terminated_like_interrupted(), alone_in(layout.reproduced):
        remove_unfinished(layout.reproduced)
        try:
            code = _in_checkout(recorded, layout.root, folder, assignments)
        except KeyboardInterrupt:
            if folder.is_dir():
                _say(f"\nThe checkout is in {folder}: `mer reproduce {version}` goes on from there, or delete it.")
            raise
        if code == 0 and not keep:
            discard(folder)
        else:
            print(f"The checkout is in {folder}.")
    return code


def _in_checkout(recorded: Recorded, root: Path, folder: Path, assignments: Sequence[str]) -> int:
    _say(f"{recorded.name}: commit {recorded.origin.commit[:12]}, checked out in {folder}")
    project = check_out(recorded.origin, root, folder)
    if assignments:
        set_values(Layout(project), assignments)
    _say("data: from DVC's cache, and what it lacks from the remote")
    bring_data(recorded.origin, root, project)
    _check_data(recorded, project)
    return _train_and_compare(recorded, Layout(project))


def find_recorded(version: str, params: Params, layout: Layout, uri: str) -> Recorded:
    """A version and what its training was made from. Raises BundleError, UnavailableError."""
    from components.registry.fetch import fetch_bundle

    info = find_version(params, version, uri)
    value = Run(Client(uri), info.run_id).read_json(ORIGIN) if info.run_id else None
    if value is None:
        commit = info.tags.get("lineage.git_commit")
        raise BundleError(
            "the version does not record what it was made from",
            where=f"{info.name} version {info.version}",
            seen=f"no {ORIGIN} in the run of its training" + (f"; commit {commit}" if commit else ""),
            remedy="Only versions that `mer run` trained, since it records this, can be reproduced",
        )
    bundle = fetch_bundle(info.name, info.version, tracking_uri=uri, cache_dir=layout.state / "bundles")
    return Recorded(info=info, origin=Origin.from_json(value), bundle=bundle)


def _check_assignments(assignments: Sequence[str]) -> None:
    for assignment in assignments:
        if assignment.partition("=")[0].partition(".")[0] not in FREE:
            raise ConfigError(
                "this setting belongs to what is reproduced",
                where="--set",
                seen=assignment,
                allowed=" and ".join(f"{section}.…" for section in FREE),
                remedy="Train a version of its own with `mer run`",
            )


def _check_data(recorded: Recorded, project: Path) -> None:
    brought = read_json(Layout(project).catalog / "catalog.json")["sha256"]
    if brought != recorded.origin.data_sha256:
        raise DataError(
            "the data are not those that the version was trained on",
            where=recorded.name,
            seen=f"catalog {brought[:12]}",
            allowed=recorded.origin.data_sha256[:12],
        )


def _train_and_compare(recorded: Recorded, layout: Layout) -> int:
    if code := _stage(TRAIN, layout):
        return code
    weights = _weights(recorded, layout)
    print(weights.words)
    rows = _circumstances(recorded, layout)
    if rows or not weights.equal:
        print(table(("differs", "recorded", "here"), rows) if rows else "No setting, version or hardware differs.")
    if weights.equal:
        return 0
    if code := _stage(EVALUATE, layout):
        return code
    description = read_json(recorded.bundle / DESCRIPTION)
    names = {key: words for key, (words, _) in FIGURES.items()}
    figures = moved(description["metrics"], read_json(layout.evaluated / "metrics.json"), names)
    print(table(("figure", "recorded", "again", "moved"), figures, right=(2, 3)))
    return DIFFERENT


def _weights(recorded: Recorded, layout: Layout) -> Weights:
    from safetensors.torch import load_file

    from components.model.files import WEIGHTS

    return compare_weights(load_file(recorded.bundle / WEIGHTS), load_file(layout.trained / WEIGHTS))


def _circumstances(recorded: Recorded, layout: Layout) -> list[tuple[str, str, str]]:
    """What differs of settings, software and hardware. The commit and the data are equal, or this is not reached."""
    origin = recorded.origin
    compared: Sequence[tuple[Mapping[str, str], Mapping[str, str]]] = (
        (settings(origin.params), settings(layout.params.read_text(encoding="utf-8"))),
        (origin.software, software()),
        (origin.hardware, hardware()),
    )
    return [row for before, here in compared for row in differences(before, here)]


def _stage(name: str, layout: Layout) -> int:
    """Runs a stage of the checkout by its own code, with an MLflow store of its own; returns its exit code."""
    _say(f"{name}:")
    variables: dict[str, Any] = {
        **environment(),
        "PYTHONPATH": str(layout.root),
        VARIABLE: f"{SQLITE}{layout.root / '.mer' / 'mlflow.db'}",
    }
    variables.pop(RUN_ID_VARIABLE, None)
    layout.state.mkdir(exist_ok=True)
    code = call([sys.executable, "-m", "pipelines.cli", name], folder=layout.root, variables=variables)
    if code:
        _say(f"{name} stopped with exit code {code}; the message is above. `mer reproduce` goes on from here.")
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
