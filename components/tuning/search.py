"""A search by Ray Tune: Optuna proposes values (TPE, Bergstra et al. 2011), ASHA stops trials that fall behind early.

What is known of an earlier search of this kind comes first: a trial that ended reports its scores again, without a
training, so that Optuna and ASHA learn of it as they did then; one that was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.config import RayResources
from components.contracts.errors import MerError, error_chain
from components.contracts.layout import Layout
from components.runtime.alone import alone_in
from components.runtime.cluster import connect
from components.runtime.progress import progress
from components.training.samples.source import check_here
from components.tuning.journal import Journal, Outcome, trial_name
from components.tuning.space import Dimension, Space
from components.tuning.trial import Trial

SCORE, EPOCHS = "score", "epochs"
# As workers of a training: two trials fit beside the actors of other stages, and the system shares the cores.
CPUS_PER_TRIAL = 0.5
# Ctrl-C is raised here like everywhere, and Tune's own tables, reports and usage of the disk are not wanted.
QUIET = {"TUNE_DISABLE_SIGINT_HANDLER": "1", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}


def search(space: Space, journal: Journal, *, layout: Layout, resources: RayResources) -> None:
    """Runs trials until the journal has as many as `tune.trials`; returns at once where it has them.

    Args:
        space: what is searched.
        journal: what is known; takes what comes out.
        layout: the project's, with a catalog.
        resources: of a local Ray, if none is running.

    Raises:
        MerError: every trial failed; the first error.
        KeyboardInterrupt: the search was stopped; started again, it goes on.
    """
    params = space.params
    known = {name: outcome for name, outcome in journal.outcomes.items() if outcome.error is None}
    if len(known) >= params.tune.trials and all(outcome.ended for outcome in known.values()):
        return
    trial = Trial(root=layout.root.resolve(), params=params, folder=journal.states.resolve())
    connect(resources)
    with progress("tune: trials", max(params.tune.trials, len(known))) as advance:
        failed = _run(trial, space, journal, known, advance)
    journal.clear_states()
    if failed and not any(outcome.scores for outcome in journal.outcomes.values()):
        raise failed[0]


def _run(
    trial: Trial, space: Space, journal: Journal, known: Mapping[str, Outcome], advance: Callable[[int], None]
) -> list[MerError]:
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # It misses the files of the loggers that are switched off; the journal has what they would.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    params, noted = space.params, _noting(space, journal, advance)
    points = _points(space, known)
    with tempfile.TemporaryDirectory(prefix="mer-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_train, task=_Task(trial=trial, space=space, known=known)),
                {"cpu": CPUS_PER_TRIAL},
            ),
            param_space={name: _domain(dimension) for name, dimension in space.dimensions.items()},
            tune_config=tune.TuneConfig(
                metric=SCORE,
                mode="max",
                search_alg=OptunaSearch(points_to_evaluate=points, seed=params.seed),
                scheduler=ASHAScheduler(
                    time_attr=EPOCHS,
                    max_t=params.train.epochs,
                    grace_period=min(params.tune.first_epochs, params.train.epochs),
                    reduction_factor=params.tune.reduction,
                ),
                num_samples=max(params.tune.trials, len(points)),
                max_concurrent_trials=params.tune.at_once,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=params.runtime.max_failures),
                callbacks=[noted],
            ),
        )
        tuner.fit()
    return noted.errors


def _points(space: Space, known: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """The trials to begin with: those that are known, the ended ones first; of a new search the present settings."""
    ordered = sorted(known.values(), key=lambda outcome: (not outcome.ended, outcome.name))
    points = [dict(outcome.values) for outcome in ordered]
    present = None if space.present is None else space.settled(space.present)
    return points if present is None or present in points else [present, *points]


def _domain(dimension: Dimension) -> Any:
    """A dimension as Tune has it. Its whole numbers end before the upper bound."""
    from ray import tune

    if dimension.choices:
        return tune.choice(list(dimension.choices))
    if dimension.whole:
        low, beyond = int(dimension.low), int(dimension.high) + 1
        return tune.lograndint(low, beyond) if dimension.log else tune.randint(low, beyond)
    return (tune.loguniform if dimension.log else tune.uniform)(dimension.low, dimension.high)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What travels to the actors of trials."""

    trial: Trial
    space: Space
    known: Mapping[str, Outcome]


def _train(config: Mapping[str, Any], *, task: _Task) -> None:
    """A trial in its actor. Two of equal values come one after the other."""
    from ray import tune

    check_here(task.trial.root)  # before a folder in it is made
    values = task.space.settled(config)
    name = trial_name(values)
    outcome = task.known.get(name, Outcome(values=values))
    for number, score in enumerate(outcome.scores, start=1):
        tune.report({SCORE: score, EPOCHS: number})
    if outcome.ended:
        return

    def report(epochs: int, score: float) -> None:
        if epochs > len(outcome.scores):
            tune.report({SCORE: score, EPOCHS: epochs})

    folder = task.trial.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder):
        task.trial.train(name, values, report)


def _noting(space: Space, journal: Journal, advance: Callable[[int], None]) -> Any:
    """A callback of Tune in this process that writes to the journal; `errors` are those of trials that failed."""
    from ray import tune

    class Noting(tune.Callback):
        errors: list[MerError] = []  # noqa: RUF012  one instance per search

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            journal.begun(space.settled(trial.config))

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            journal.scored(space.settled(trial.config), int(result[EPOCHS]), float(result[SCORE]))

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            journal.ended(space.settled(trial.config))
            advance(1)

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            advance(1)
            own = _own_error(trial)
            if own is not None:  # a lost process is tried again by the next search
                self.errors.append(own)
                journal.ended(space.settled(trial.config), error=str(own))

    return Noting()


def _own_error(trial: Any) -> MerError | None:
    """The error of the project's tree that ended a trial, as Tune wrote it down in this process: its own method would
    look for the file where it is copied to later."""
    from ray import cloudpickle

    if trial.pickled_error_file is None:
        return None
    chain = error_chain(cloudpickle.loads(Path(trial.pickled_error_file).read_bytes()))
    return next((link for link in chain if isinstance(link, MerError)), None)
