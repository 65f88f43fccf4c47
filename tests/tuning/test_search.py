"""A search on the toy catalog with the Ray that tests share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.contracts.atomic import read_json
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.tracking.client import client_of
from components.tracking.runs import PARENT_TAG, experiment_id
from components.tuning.journal import Journal, Outcome, trial_name
from components.tuning.search import search
from components.tuning.space import Space
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
