from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from components.ablation import stage
from components.ablation.answers import ALL, FoldResult
from components.ablation.crossval import CatalogClips, Unit, run_unit
from components.ablation.report import Report
from components.contracts.atomic import read_json, write_table
from components.contracts.config import Catalog, Params
from components.contracts.errors import ConfigError, ModelError
from components.contracts.layout import Layout
from components.tracking.runs import PARENT_TAG
from tests.model.toys import Toy
from tests.training.catalogs import tiny_params, write_catalog

pytestmark = pytest.mark.integration

TOY = Toy(clips=16, steps=(6, 8), noise=0.3, subjects=3, bits=1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    write_catalog(Layout(tmp_path), TOY)
    return Layout(tmp_path)


def params(uri: str, experiment: str, **ablate: Any) -> Params:
    base = tiny_params(uri, experiment, epochs=1).model_dump(exclude_unset=True)
    given = {"folds": 3, "seeds": 2, "workers": 0, "variants": ["no_ema"], **ablate}
    return Params.model_validate({**base, "evaluate": {"bootstrap": 30}, "ablate": given})


class Counted:
    """The real thing, counted; `before` may stop it."""

    def __init__(self, before: Callable[[int], None] = lambda count: None) -> None:
        self.count, self.before = 0, before

    def __call__(self, unit: Unit, corpus: CatalogClips, first: FoldResult | None = None) -> FoldResult:
        self.before(self.count)
        self.count += 1
        return run_unit(unit, corpus, first)


def counted(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None] = lambda count: None) -> Counted:
    made = Counted(before)
    monkeypatch.setattr(stage, "run_unit", made)
    return made


def names(report: Report) -> list[str]:
    return [row["name"] for row in report.table]


def test_what_is_done_is_never_done_again(layout: Layout, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(count: int) -> None:
        if count == 5:
            raise KeyboardInterrupt

    first = counted(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.run(params(mlflow_uri, "ablate-cache"), layout)
    assert first.count == 5
    assert not (layout.state / "ablation" / "toy-3").exists()
    rest = counted(monkeypatch)
    report = stage.run(params(mlflow_uri, "ablate-cache"), layout)
    assert rest.count == 2 * 3 * 2 - 5
    again = counted(monkeypatch)
    assert stage.run(params(mlflow_uri, "ablate-cache"), layout).to_json() == report.to_json()
    assert again.count == 0
    # One more variant and one more seed cost themselves; a name for what is there already costs nothing.
    stage.run(params(mlflow_uri, "ablate-cache", variants=["no_ema", "one_way"]), layout)
    assert again.count == 6
    more = stage.run(params(mlflow_uri, "ablate-cache", variants=["logit_adjustment"], seeds=3), layout)
    assert again.count == 6 + 3
    assert more.table[0]["same"] == ["logit_adjustment"]
    assert "no_ema" not in names(more)


def test_the_report_is_in_files_and_in_mlflow(layout: Layout, mlflow_uri: str) -> None:
    given = params(mlflow_uri, "ablate-report", variants=["unimodal_face", "unimodal_voice", "one_way"])
    report = stage.run(given, layout)
    assert names(report) == [
        "default",
        "unimodal_face",
        "unimodal_voice",
        "one_way",
        "majority",
        "product_of_experts",
        "product_of_unimodal",
        "ensemble_default",
        *(["ensemble_one_way"] if report.verdict["best"] == "one_way" else []),
        "nested_choice",
    ]
    folder = layout.state / "ablation" / "toy-3"
    assert read_json(folder / "table.json") == report.to_json()
    with (folder / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["variant"] for row in rows] == names(report)
    answers = pq.read_table(folder / "predictions.parquet").to_pylist()
    mine = [row for row in answers if row["row"] == "default" and row["seed"] == 1]
    assert sorted(row["clip_id"] for row in mine) == sorted(report.clips)
    right = np.mean([row["label"] == row["answer"] for row in mine])
    default = report.rows[0].posterior[ALL]
    assert right == pytest.approx((default[1].argmax(-1) == report.items.truth).mean())
    # Nobody is answered by a model that saw them: each fold tests people of its own.
    people = {fold: {row["subject_id"] for row in mine if row["fold"] == fold} for fold in ("0", "1", "2")}
    assert sum(map(len, people.values())) == len(set().union(*people.values())) == 9
    page = (folder / "report.html").read_text()
    assert report.verdict["words"].split(":")[0] in page
    assert "leads, not a claim" in page

    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("ablate-report")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if PARENT_TAG not in run.data.tags]
    assert len(parents) == 1
    assert len(runs) == 1 + len(report.table)
    one_way = next(run for run in runs if run.info.run_name == "one_way")
    assert one_way.data.tags[PARENT_TAG] == parents[0].info.run_id
    assert one_way.data.params["model.fusion"] == "one_way"
    figure = report.table[3]["figures"]["macro_f1"]
    assert one_way.data.metrics["figures/macro_f1/low"] == pytest.approx(figure["low"])
    assert "report.html" in {file.path for file in client.list_artifacts(parents[0].info.run_id)}
    # The same comparison again is the same run.
    stage.run(given, layout)
    assert len(client.search_runs([experiment.experiment_id])) == len(runs)


def test_what_is_trained_again_takes_the_first_training_from_where_it_lies(
    layout: Layout, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = counted(monkeypatch)
    both = stage.run(params(mlflow_uri, "ablate-refit", variants=["refit"], seeds=1), layout)
    assert made.count == 3 + 3
    assert names(both)[:2] == ["default", "refit"]
    assert not np.array_equal(both.rows[0].posterior[ALL], both.rows[1].posterior[ALL])
    # The calibration people are answered alike, so they cannot choose between the two.
    assert set(both.chosen) == {"default"}
    # Without the first results they are made. What the configuration says of a second training makes no difference.
    results = layout.state / "ablation" / "results"
    known = {path.name for path in results.iterdir()}
    for path in results.iterdir():
        path.unlink()
    switched = params(mlflow_uri, "ablate-refit", variants=["refit"], seeds=1)
    switched = switched.model_copy(update={"train": switched.train.model_copy(update={"refit": True})})
    made.count = 0
    alone = stage.run(switched, layout)
    assert made.count == 3 + 3
    for one, two in zip(alone.rows[:2], both.rows[:2], strict=True):
        np.testing.assert_array_equal(one.posterior[ALL], two.posterior[ALL])
    assert {path.name for path in results.iterdir()} == known
    made.count = 0
    stage.run(params(mlflow_uri, "ablate-refit", variants=["refit"], seeds=1), layout)
    assert made.count == 0


def test_a_variant_that_fails_is_told_and_the_others_go_on(
    layout: Layout, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def real(unit: Unit, corpus: CatalogClips, first: FoldResult | None = None) -> FoldResult:
        tried.append(unit.params.model.fusion)
        if unit.params.model.fusion == "one_way":
            raise ModelError("the gradient is not finite", where="step 3")
        return run_unit(unit, corpus, first)

    monkeypatch.setattr(stage, "run_unit", real)
    given = params(mlflow_uri, "ablate-failed", variants=["one_way", "no_ema"], seeds=1)
    report = stage.run(given, layout)
    assert report.failed == {"one_way": "step 3: the gradient is not finite"}
    assert tried.count("one_way") == 1
    assert "one_way" not in names(report)
    assert "no_ema" in names(report)
    assert "the gradient is not finite" in (layout.state / "ablation" / "toy-3" / "report.html").read_text()


def test_a_default_that_fails_ends_it(layout: Layout, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(unit: Unit, corpus: CatalogClips, first: FoldResult | None = None) -> FoldResult:
        raise ModelError("no luck")

    monkeypatch.setattr(stage, "run_unit", broken)
    with pytest.raises(ModelError, match="no luck"):
        stage.run(params(mlflow_uri, "ablate-broken"), layout)
    with pytest.raises(ConfigError, match="unknown variant"):
        stage.run(params(mlflow_uri, "ablate-broken", variants=["better"]), layout)


def test_folds_keep_texts_apart_where_the_catalog_does(
    layout: Layout, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = layout.catalog / "catalog.parquet"
    table = pq.read_table(path)
    text = dict(zip(table["clip_id"].to_pylist(), (f"t{number % 5}" for number in range(len(table))), strict=True))
    column = table.schema.get_field_index("text_id")
    pq.write_table(table.set_column(column, table.schema.field(column), [list(text.values())]), path)
    folds = []

    def stop(unit: Unit, *_: object) -> FoldResult:
        folds.append(unit.fold)
        raise ModelError("enough")

    monkeypatch.setattr(stage, "run_unit", stop)
    given = params(mlflow_uri, "ablate-texts").model_copy(update={"catalog": Catalog(by_text=True)})
    with pytest.raises(ModelError, match="enough"):
        stage.run(given, layout)
    spoken = [{text[clip] for clip in folds[0].ids(split)} for split in ("train", "calibration", "test")]
    assert sorted(one for own in spoken for one in own) == ["t0", "t1", "t2", "t3", "t4"]


@pytest.mark.usefixtures("ray_session")
def test_ray_tasks_give_what_this_process_gives(layout: Layout, tmp_path: Path, mlflow_uri: str) -> None:
    here = stage.run(params(mlflow_uri, "ablate-here", seeds=1), layout)
    other = Layout(tmp_path / "other")
    write_catalog(other, TOY)
    there = stage.run(params(mlflow_uri, "ablate-ray", seeds=1, workers=2), other)
    assert names(there) == names(here)
    for mine, ray in zip(here.rows, there.rows, strict=True):
        np.testing.assert_array_equal(mine.posterior[ALL], ray.posterior[ALL])


def test_the_corpus_own_test_split_is_compared_on_in_one_fold_under_both_objectives(
    layout: Layout, mlflow_uri: str
) -> None:
    rows = pq.read_table(layout.catalog / "catalog.parquet").select(["clip_id", "split"]).to_pylist()
    write_table(layout.validated("toy") / "accepted.parquet", pa.Table.from_pylist(rows))
    report = stage.run(
        params(mlflow_uri, "ablate-own", folds="corpus", seeds=1, variants=["balanced", "accuracy"]), layout
    )
    assert [fold.name for fold in report.folds] == ["test split"]
    assert set(report.clips) == {row["clip_id"] for row in rows if row["split"] == "test"}
    assert {"default", "accuracy"} <= set(names(report))
    assert report.table[0]["same"] == ["balanced"]
