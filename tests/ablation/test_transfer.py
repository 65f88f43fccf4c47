"""The transfer table: which cells there are, what they are scored on, and that each is drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from components.ablation.answers import ADAPTED, ALL, Answers, FoldResult
from components.ablation.folds import alone, make_folds
from components.ablation.heatmap import heat_map
from components.ablation.report import figure
from components.ablation.transfer import OTHERS, Transfer, to_markdown, transfer
from components.catalog.clips import Clips
from components.contracts.config import Evaluate
from tests.ablation.test_folds import rows

TABLE = [*rows("de", 6), *rows("en", 9), *rows("pl", 6)]
CLIPS = Clips.of_rows(TABLE, {})
LABELS = {row["clip_id"]: int(row["label"] == "anger") for row in TABLE}
DATASET = {row["clip_id"]: row["dataset"] for row in TABLE}


def result(clips: list[str], right: dict[str, float], seed: int) -> FoldResult:
    """Answers of which a share is right, by split."""
    truth = np.array([LABELS[clip] for clip in clips])
    answers = {}
    for split, share in right.items():
        hit = np.random.default_rng(seed).random(len(clips)) < share
        said = np.where(hit, truth, 1 - truth)
        posterior = np.where(np.eye(2)[said] > 0, 0.9, 0.1).astype(np.float32)
        index = np.arange(len(clips), dtype=np.int64)
        answers[split, "clip"] = Answers(
            clips=tuple(clips), clip=index, truth=truth, posterior={ALL: posterior}, unimodal={}
        )
    return FoldResult(answers=answers, prior={"clip": np.full(2, 0.5, np.float32)}, facts={})


@pytest.fixture(scope="module")
def made() -> Transfer:
    shares = {"test": 0.0, ADAPTED: 1.0}
    # A training on "pl" alone was not possible.
    one = {name: [result(alone(CLIPS, name, 0).ids("test"), shares, seed) for seed in (1, 2)] for name in ("de", "en")}
    folds = make_folds(CLIPS, "dataset", 0)
    others = [(fold, [result(fold.ids("test"), shares, seed) for seed in (1, 2)]) for fold in folds]
    config = Evaluate(bootstrap=50)
    return transfer(one, others, TABLE, "clip", config, seed=0, failed={"pl": "too few people"})


def test_each_cell_is_scored_on_the_tested_people_alone(made: Transfer) -> None:
    cells = {(cell["trained_on"], cell["tested_on"]): cell for cell in made.cells}
    assert set(cells) == {(row, name) for row in ("de", "en", OTHERS) for name in made.datasets}
    assert made.rows == ("de", "en", "pl", OTHERS)
    for (row, name), cell in cells.items():
        people = {"de": 6, "en": 9, "pl": 6}[name]
        assert (cell["people"] < people) if row == name else (cell["people"] == people)
        assert cell["items"] == 2 * cell["people"]
        assert (cell["unknown"]["uar"]["value"], cell["adapted"]["uar"]["value"]) == (0.0, 1.0)
        assert cell["gain"]["uar"]["value"] == 1.0
        assert cell["unknown"]["ece"]["value"] == pytest.approx(0.9)


def test_it_is_a_table_and_a_picture_with_a_place_for_what_is_missing(made: Transfer) -> None:
    text = to_markdown(made, figure)
    assert text.count("| trained on | de | en | pl |") == 2
    assert text.count(f"| {OTHERS} | ") == 2
    assert "Not trained on pl alone: too few people" in text
    pixels = np.asarray(Image.open(io.BytesIO(heat_map(made))).convert("RGB"))
    # Equal tables give equal pictures, and every shade between chance and 1 is the same in both panels.
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(heat_map(made))).convert("RGB")))
    assert pixels.shape[1] > pixels.shape[0] > 200
