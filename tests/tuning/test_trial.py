from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.config import Params
from components.contracts.layout import Layout
from components.datasets import remote
from components.tuning.trial import Trial
from tests.datasets.objects import BUCKET, object_store
from tests.training.catalogs import tiny_params, write_catalog

STORE = f"s3://{BUCKET}/shared"


def trained(folder: Path, store: str | None) -> list[tuple[int, float]]:
    layout = Layout(folder / "project")
    write_catalog(layout)
    given = tiny_params("sqlite://", "none", epochs=2, refit=False).model_dump(exclude_unset=True)
    params = Params.model_validate({**given, "runtime": {**given["runtime"], "store": store}})
    scores: list[tuple[int, float]] = []
    trial = Trial(root=layout.root, params=params, folder=folder / "states")
    trial.train("one", {"train.learning_rate": 1e-2}, lambda epochs, score: scores.append((epochs, score)))
    return scores


def test_a_trial_leaves_nothing_in_the_store_and_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(monkeypatch):
        scores = trained(tmp_path / "store", STORE)
        assert remote.listing(remote.place_of(STORE, where="runtime.store")) == []
    assert [epochs for epochs, _ in scores] == [1, 2]
    # The server is gone.
    assert trained(tmp_path / "away", STORE) == trained(tmp_path / "none", None) == scores
