"""A search on the toy catalog with the Ray that tests share."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.errors import DataError
from components.contracts.layout import Layout
from components.tracking.client import client_of
from components.tracking.runs import PARENT_TAG, experiment_id
from components.tuning import search as searching
from components.tuning.journal import Journal, Outcome, trial_name
from components.tuning.search import search
from components.tuning.space import Dimension, Space
from components.tuning.trial import Trial
from tests.training.catalogs import tiny_params, write_catalog

RATES = {"train.learning_rate": [1e-2, 1e-6]}


@pytest.mark.usefixtures("ray_session")
def test_trials_are_scored_recorded_and_not_repeated(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path)
    write_catalog(layout)
    catalog = read_json(layout.catalog / "catalog.json")
    given = tiny_params(mlflow_uri, "tune", epochs=2, learning_rate=1e-2).model_dump(exclude_unset=True)
    tune = {"ranges": RATES, "trials": 2, "at_once": 2}
    params = Params.model_validate({**given, "tune": tune})
    space = Space.of(params)
    present = {"train.learning_rate": 1e-2}

    journal = Journal.of(space, layout, catalog)
    # An earlier search was stopped in this one after an epoch with a score that nothing else gives.
    journal.begun(present)
    journal.scored(present, 1, 0.125)
    search(space, journal, layout=layout, resources=params.ray)
    known = journal.outcomes[trial_name(present)]
    assert known.scores[0] == 0.125
    assert len(known.scores) == 2
    assert all(outcome.ended and outcome.run_id for outcome in journal.outcomes.values())
    assert not journal.states.exists() or not list(journal.states.iterdir())

    client = client_of(params.tracking, tmp_path)
    runs = client.search_runs([experiment_id(client, params.tracking, tmp_path)])
    (parent,) = (run for run in runs if PARENT_TAG not in run.data.tags)
    nested = [run for run in runs if run.data.tags.get(PARENT_TAG) == parent.info.run_id]
    assert len(nested) == len(journal.outcomes)
    assert {run.info.status for run in runs} == {"FINISHED"}

    again = Journal.of(space, layout, catalog)
    again.outcomes = {name: replace(outcome, ended=True) for name, outcome in again.outcomes.items()}
    for number in range(2 - len(again.outcomes)):
        again.outcomes[str(number)] = Outcome(values={}, scores=(0.0,), ended=True)
    search(space, again, layout=layout, resources=params.ray)  # has as many as are asked for
    assert len(client.search_runs([experiment_id(client, params.tracking, tmp_path)])) == len(runs)


@pytest.mark.usefixtures("ray_session")
def test_what_falls_behind_is_stopped_early_and_what_fails_is_noted_with_its_error(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    layout = Layout(tmp_path)
    write_catalog(layout)
    given = tiny_params(mlflow_uri, "tune-stops", batch_clips=4, learning_rate=1e-2).model_dump(exclude_unset=True)
    ranges = {
        "train.learning_rate": [1e-2, 1e-12],
        "model.width": [16, 20],
        "model.heads": [2, 8],
        "model.dropout": {"low": 0.2, "high": 0.4},
    }
    tune = {"ranges": ranges, "trials": 4, "at_once": 1, "first_epochs": 1, "reduction": 2}
    given["runtime"] |= {"max_failures": 0}
    params = Params.model_validate({**given, "tune": tune})
    space = Space.of(params)
    present = space.present
    assert present is not None
    absurd = {**present, "train.learning_rate": 1e-12}
    broken = {**present, "model.width": 20, "model.heads": 8}

    journal = Journal.of(space, layout, read_json(layout.catalog / "catalog.json"))
    for values in (absurd, broken):
        journal.begun(values)  # so that they come after the present ones
    search(space, journal, layout=layout, resources=params.ray)
    outcomes = dict(journal.outcomes)
    assert len(outcomes) == 4
    assert all(outcome.ended for outcome in outcomes.values())
    assert len(outcomes.pop(trial_name(present)).scores) == 3
    stopped = outcomes.pop(trial_name(absurd))
    assert (len(stopped.scores), stopped.error) == (1, None)
    failed = outcomes.pop(trial_name(broken))
    assert failed.scores == ()
    assert "width 20 must be a multiple of heads 8" in str(failed.error)
    (proposed,) = outcomes.values()
    dropout = proposed.values["model.dropout"]
    assert 0.2 <= dropout <= 0.4
    assert dropout != present["model.dropout"]


def test_ranges_reach_optuna_with_their_bounds() -> None:
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    dimensions = {
        "rate": Dimension(low=1e-4, high=1e-2, log=True),
        "dropout": Dimension(low=0.0, high=0.5),
        "blocks": Dimension(low=1, high=4, whole=True),
        "width": Dimension(low=8, high=64, whole=True, log=True),
        "causal": Dimension(choices=(True, False)),
    }
    domains = {name: searching._domain(dimension) for name, dimension in dimensions.items()}
    assert OptunaSearch.convert_search_space(domains) == {
        "rate": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
        "dropout": optuna.distributions.FloatDistribution(0.0, 0.5),
        "blocks": optuna.distributions.IntDistribution(1, 4),
        "width": optuna.distributions.IntDistribution(8, 64, log=True),
        "causal": optuna.distributions.CategoricalDistribution((True, False)),
    }


def test_a_node_without_the_project_says_so_and_makes_no_folder_for_it(tmp_path: Path) -> None:
    params = Params.model_validate({"tune": {"ranges": {"model.width": [16, 32]}}})
    trial = Trial(root=tmp_path / "away", params=params, folder=tmp_path / "away" / "states")
    task = searching._Task(trial=trial, space=Space.of(params), known={})
    with pytest.raises(DataError, match=rf"{platform.node()}: .*away: this machine does not have the project"):
        searching._train({"model.width": 32}, task=task)
    assert not trial.root.exists()
