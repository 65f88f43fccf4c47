"""What the trials of a search gave so far: one file per trial, and a nested MLflow run for each that ended.

The files are enough to go on: a search that is started again is handed the trials of its journal first, and those that
ended report their scores again without training (`search.py`). So nothing of Ray Tune's or Optuna's own state is kept.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components.contracts import versions
from components.contracts.atomic import read_json, write_json
from components.contracts.config import Tracking
from components.contracts.errors import UnavailableError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import EARLIER, Layout
from components.tracking.runs import Run, kept_run, new_run
from components.tuning.space import Space

TRIALS, STATES = "trials", "states"
SEARCH_TAG = "mer.tune"
TRIAL_TAG = "mer.trial"
NAME_DIGITS, FOLDER_DIGITS = 12, 16


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One trial.

    Attributes:
        values: of the searched settings.
        scores: on the calibration split after each epoch.
        ended: whether it trained all epochs, was stopped early, or failed; False: it goes on the next time.
        error: why it failed.
        run_id: of its run in MLflow, once it is there.
    """

    values: Mapping[str, Any]
    scores: tuple[float, ...] = ()
    ended: bool = False
    error: str | None = None
    run_id: str | None = None

    @property
    def name(self) -> str:
        """The trial's name: equal values are one trial."""
        return trial_name(self.values)


def trial_name(values: Mapping[str, Any]) -> str:
    """The name of the trial of these values."""
    return fingerprint(dict(values))[:NAME_DIGITS]


class Journal:
    """The outcomes of one search in a folder. One process writes there."""

    def __init__(self, folder: Path, *, tracking: Tracking, root: Path, name: str) -> None:
        self.folder, self._tracking, self._root, self._name = folder, tracking, root, name
        self._away = False
        files = sorted((folder / TRIALS).glob("*.json")) if folder.is_dir() else []
        outcomes = (_outcome(read_json(file)) for file in files)
        self.outcomes = {outcome.name: outcome for outcome in outcomes}

    @classmethod
    def of(cls, space: Space, layout: Layout, catalog: Mapping[str, Any]) -> Journal:
        """That of a search: its folder is named by what trials depend on beside their values, so that another number of
        trials, or other ranges, go on from what is known; trials outside of the ranges do not count.

        Args:
            space: what is searched.
            layout: the project's.
            catalog: `catalog.json`.
        """
        params = space.params
        decides = {
            "version": versions.TRAIN,
            "catalog": catalog["sha256"],
            "classes": catalog["classes"],
            "encoders": catalog["encoders"],
            "seed": params.seed,
            "score": params.tune.score,
            "names": sorted(space.dimensions),
            **space.fixed(),
        }
        if params.train.start_from is not None:
            decides["start"] = read_json(layout.start / EARLIER)["bundle_sha256"]
        name = fingerprint(decides)[:FOLDER_DIGITS]
        journal = cls(layout.tuned / name, tracking=params.tracking, root=layout.root, name=name)
        journal.outcomes = {key: outcome for key, outcome in journal.outcomes.items() if outcome.values in space}
        return journal

    @property
    def states(self) -> Path:
        """The folder of the checkpoints of unfinished trials."""
        return self.folder / STATES

    def begun(self, values: Mapping[str, Any]) -> None:
        """Notes that a trial has begun, unless it is known."""
        if trial_name(values) not in self.outcomes:
            self._keep(Outcome(values=dict(values)))

    def scored(self, values: Mapping[str, Any], epochs: int, score: float) -> None:
        """Notes the score of a trial after so many epochs; one that is known already is left as it is."""
        outcome = self.outcomes[trial_name(values)]
        if epochs == len(outcome.scores) + 1:
            self._keep(replace(outcome, scores=(*outcome.scores, score)))

    def ended(self, values: Mapping[str, Any], error: str | None = None) -> None:
        """Notes that a trial ended, removes its checkpoints, and tells MLflow; where that is away, `deliver` does."""
        outcome = replace(self.outcomes[trial_name(values)], ended=True, error=error)
        self._keep(outcome)
        shutil.rmtree(self.states / outcome.name, ignore_errors=True)
        try:
            self.deliver()
        except UnavailableError as problem:
            if not self._away:
                print(f"tune: MLflow is away, trials wait in {self.folder}: {problem}", file=sys.stderr)
            self._away = True

    def clear_states(self) -> None:
        """Removes what a trial that was stopped early wrote until its process noticed. To be called when none runs."""
        for outcome in self.outcomes.values():
            if outcome.ended:
                shutil.rmtree(self.states / outcome.name, ignore_errors=True)

    def deliver(self) -> None:
        """Writes to MLflow every ended trial that it does not have. Raises UnavailableError."""
        waiting = [outcome for outcome in self.outcomes.values() if outcome.ended and outcome.run_id is None]
        if not waiting:
            return
        tags = {SEARCH_TAG: self._name}
        with kept_run(self._tracking, self._root, name=f"tune {self._name}", tags=tags) as parent:
            for outcome in waiting:
                self._keep(replace(outcome, run_id=self._recorded(outcome, parent)))
        self._away = False

    def _recorded(self, outcome: Outcome, parent: Run) -> str:
        name, tags = f"trial {outcome.name}", {TRIAL_TAG: outcome.name}
        with new_run(self._tracking, self._root, name=name, tags=tags, parent=parent) as run:
            run.params(outcome.values)
            for epoch, score in enumerate(outcome.scores):
                run.metrics({"score": score}, step=epoch)
            if outcome.error:
                run.tags({"mer.error": outcome.error})
        return run.run_id

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes[outcome.name] = outcome
        value = {**asdict(outcome), "scores": list(outcome.scores)}
        write_json(self.folder / TRIALS / f"{outcome.name}.json", value)


def ranked(outcomes: Mapping[str, Outcome], *, epochs: int) -> list[Outcome]:
    """The trials that trained all epochs, the best first, then those that were stopped early, the longest first. Only
    the former are compared: a score after few epochs is not that of a whole training."""
    scored = [outcome for outcome in outcomes.values() if outcome.scores and outcome.error is None]
    whole = (outcome for outcome in scored if len(outcome.scores) >= epochs)
    stopped = (outcome for outcome in scored if outcome.ended and len(outcome.scores) < epochs)
    return [
        *sorted(whole, key=lambda outcome: (-outcome.scores[-1], outcome.name)),
        *sorted(stopped, key=lambda outcome: (-len(outcome.scores), -outcome.scores[-1], outcome.name)),
    ]


def _outcome(value: Mapping[str, Any]) -> Outcome:
    return Outcome(**{**value, "scores": tuple(value["scores"])})
