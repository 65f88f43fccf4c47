"""Tiers and order of the tests: which are light, what a light test may not start, and which share a process.

A test is light unless it is marked `integration`, `e2e`, `gpu` or `bench`, or uses a fixture of `HEAVY_FIXTURES`, which
marks it `integration`. Light tests start no Ray, no MLflow store and no DVC; `Watch` fails those that do. `make check`
runs those of them that are not marked `slow`, which the tests of the files of `SLOW` are.

With `pytest -n`, the tests of a file run in one process, since they share its fixtures; so do the files that use the
Ray of `ray_session`, and those that use the evaluation's model or the evaluated project, so that each is trained once.
The longest groups start first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HEAVY_MARKS = ("integration", "e2e", "gpu", "bench")
HEAVY_FIXTURES = frozenset({"ray_session", "mlflow_uri"})
RAY_FIXTURE = "ray_session"
RAY_GROUP, EVALUATION_GROUP, PROJECT_GROUP = "ray", "evaluation", "evaluated project"
# Group of several files → what their text names that they share; the first that fits.
SHARED = {
    RAY_GROUP: RAY_FIXTURE,
    EVALUATION_GROUP: "from tests.evaluation.",
    PROJECT_GROUP: "evaluated_project: ",
}
ROOT = Path(__file__).resolve().parents[1]
# Groups of about 20 seconds and more, longest first; what is not listed follows in the order of collection.
LONGEST = (
    "tests/e2e/test_line.py",
    RAY_GROUP,
    EVALUATION_GROUP,
    "tests/pipelines/commands/test_ablate.py",
    "tests/test_extend.py",
    "tests/pipelines/commands/withdrawal/test_withdraw.py",
    PROJECT_GROUP,
    "tests/integration/test_bad_input.py",
    "tests/integration/test_increment.py",
    "tests/alignment/test_align.py",
    "tests/datasets/test_add_a_dataset.py",
    "tests/training/test_loop.py",
    "tests/pipelines/kubeflow/test_generate.py",
    "tests/serving/test_predict_command.py",
    "tests/pipelines/test_run.py",
    "tests/tracking/test_artifacts.py",
    "tests/alignment/test_fuzz.py",
    "tests/ablation/test_crossval.py",
    "tests/training/test_paper.py",
)
# Files of which the light tests take three seconds or more, by training, rendering, a browser or waiting; beside them,
# those that share the evaluation's model.
SLOW = frozenset(
    {
        "tests/ablation/test_crossval.py",
        "tests/ablation/test_figures.py",
        "tests/alignment/faces/test_av_offset.py",
        "tests/alignment/faces/test_face.py",
        "tests/alignment/faces/test_speaker.py",
        "tests/alignment/faces/test_video.py",
        "tests/alignment/test_align.py",
        "tests/alignment/test_fuzz.py",
        "tests/alignment/test_guard.py",
        "tests/alignment/test_placement.py",
        "tests/alignment/test_stage.py",
        "tests/bench/test_main.py",
        "tests/bench/test_stored_features.py",
        "tests/bench/test_streaming_step.py",
        "tests/bench/test_training_step.py",
        "tests/catalog/test_examples.py",
        "tests/catalog/test_packed.py",
        "tests/contracts/test_codes.py",
        "tests/datasets/corpora/test_meld.py",
        "tests/datasets/corpora/test_synthetic.py",
        "tests/datasets/synthetic/test_media.py",
        "tests/datasets/test_check.py",
        "tests/datasets/test_contract.py",
        "tests/datasets/test_remote.py",
        "tests/features/test_stage.py",
        "tests/inference/test_semi_markov.py",
        "tests/infra/test_fields.py",
        "tests/media/clocks/test_jitter.py",
        "tests/media/test_channels.py",
        "tests/media/test_span.py",
        "tests/model/published/test_paper.py",
        "tests/model/published/test_paper_clips.py",
        "tests/model/test_model.py",
        "tests/model/test_streaming.py",
        "tests/model/test_utterance_ways.py",
        "tests/model/test_ways.py",
        "tests/pipelines/commands/datasets/test_add.py",
        "tests/pipelines/commands/datasets/test_download.py",
        "tests/pipelines/commands/test_config.py",
        "tests/pipelines/kubeflow/test_generate.py",
        "tests/pipelines/kubeflow/test_server.py",
        "tests/pipelines/stack/test_run.py",
        "tests/pipelines/test_cli.py",
        "tests/pipelines/test_stages.py",
        "tests/pipelines/test_start.py",
        "tests/registry/test_bundle.py",
        "tests/registry/test_golden_clip.py",
        "tests/registry/test_terms.py",
        "tests/runtime/children/test_fork_server.py",
        "tests/runtime/children/test_guarded.py",
        "tests/runtime/test_local_http.py",
        "tests/runtime/test_threads.py",
        "tests/serving/http/test_app.py",
        "tests/serving/http/test_batches.py",
        "tests/serving/test_page_in_browser.py",
        "tests/serving/test_pool.py",
        "tests/serving/test_predict_folder.py",
        "tests/serving/test_predictor.py",
        "tests/serving/test_stream.py",
        "tests/test_locks.py",
        "tests/test_public.py",
        "tests/training/checkpoints/test_keeper.py",
        "tests/training/checkpoints/test_state.py",
        "tests/training/nodes/test_materials.py",
        "tests/training/nodes/test_place.py",
        "tests/training/test_adapted.py",
        "tests/training/test_clock.py",
        "tests/training/test_compiled.py",
        "tests/training/test_epochs.py",
        "tests/training/test_job.py",
        "tests/training/test_learner.py",
        "tests/training/test_lives.py",
        "tests/training/test_loop.py",
        "tests/training/test_paper.py",
        "tests/tuning/test_trial.py",
    }
)
# Names of programs and modules on a command line that no light test may start.
HEAVY_PROGRAMS = frozenset({"raylet", "gcs_server", "ray", "mlflow", "dvc", "mer", "pipelines.cli"})
HEAVY_DATABASE = "mlflow.db"


def is_light(item: pytest.Item) -> bool:
    """Whether no mark says that the test starts a framework or needs a machine of its own."""
    return not any(item.get_closest_marker(mark) for mark in HEAVY_MARKS)


def mark_heavy(items: Iterable[pytest.Item]) -> None:
    """Marks `integration` what uses a heavy fixture, directly or through another one, and `slow` what is in `SLOW`."""
    for item in items:
        if HEAVY_FIXTURES & set(_fixtures(item)):
            item.add_marker(pytest.mark.integration)
        if _file(item.nodeid) in SLOW or group_of(_file(item.nodeid)) == EVALUATION_GROUP:
            item.add_marker(pytest.mark.slow)


@cache
def group_of(path: str) -> str:
    """The group of a test file, by its path from the root of the project: its own, or one of `SHARED`.

    The process that hands out the tests sees their names alone, so the text of a file says what it shares.
    """
    file = ROOT / path
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    groups = (group for group, shared in SHARED.items() if shared in text)
    return next(groups, path)


def longest_first(items: list[pytest.Item]) -> None:
    """Puts the longest groups first, each in one piece."""
    place = {group: number for number, group in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(group_of(_file(item.nodeid)), len(LONGEST)))


def ends_group(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Whether no test of the group of `item` comes next in this process."""
    return following is None or group_of(_file(item.nodeid)) != group_of(_file(following.nodeid))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands whole groups to the processes of pytest-xdist.

    `--dist loadgroup` would read the groups from marks, which it appends to the names of the tests; pytest 9.2 drops
    what xdist 3.8 appends.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(_file(nodeid))

    return Groups(config, log)


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


class Watch:
    """Fails a light test at the moment at which it starts Ray, opens an MLflow store or calls DVC.

    It hears of new processes and databases through the interpreter's audit events, so it sees the real ones, whoever
    asks for them. An audit hook cannot be removed; between light tests it does nothing.
    """

    def __init__(self) -> None:
        self._watching = False
        self._started: list[str] = []
        sys.addaudithook(self._hear)

    @contextmanager
    def over(self, item: pytest.Item) -> Iterator[None]:
        """Watches while a light test runs; other tests run unwatched."""
        before = self._watching, self._started
        self._watching, self._started = is_light(item), []
        try:
            yield
            if self._started:  # a thread did, or somebody caught the refusal
                pytest.fail(_refusal(self._started[0]), pytrace=False)
        finally:
            self._watching, self._started = before

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._watching:
            return
        heavy = None
        if event == "subprocess.Popen":
            heavy = heavy_program(arguments[1])
        elif event == "sqlite3.connect" and str(arguments[0]).endswith(HEAVY_DATABASE):
            heavy = HEAVY_DATABASE
        if heavy:
            self._started.append(heavy)
            pytest.fail(_refusal(heavy))


def heavy_program(command: object) -> str | None:
    """The first heavy program of a command line, a string or a sequence."""
    words = command.split() if isinstance(command, str) else command
    names = (Path(os.fsdecode(word)).name for word in words or ())  # type: ignore[attr-defined]
    return next((name for name in names if name in HEAVY_PROGRAMS), None)


def _refusal(heavy: str) -> str:
    return f"a light test started {heavy}; mark it `integration`, so that `make check` leaves it out"
