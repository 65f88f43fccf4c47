from __future__ import annotations

import pytest

from components.contracts.errors import ConfigError
from components.datasets.registry import ADAPTERS
from pipelines.commands.datasets.describe import describe, listing


def test_every_corpus_has_a_row_that_says_how_to_get_it() -> None:
    lines = listing().splitlines()
    for name in ADAPTERS:
        assert sum(line.startswith(f"{name} ") for line in lines) == 1
    (ravdess,) = [line for line in lines if line.startswith("ravdess ")]
    assert "CC BY-NC-SA 4.0" in ravdess
    assert "openly downloadable" in ravdess
    assert "face, voice, text" in ravdess


def test_a_narrow_terminal_wraps_and_keeps_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    lines = listing().splitlines()[:-1]
    assert max(map(len, lines)) <= 70
    assert any(line.startswith("feature_table ") for line in lines)


def test_one_corpus_in_full() -> None:
    shown = describe("meld")
    for said in (
        "train_splits/dia{D}_utt{U}.mp4",  # the layout
        "meld.text_only",  # an option …
        "a clip is its words",  # … and its meaning
        "GPL-3.0",
        "affective-meld.github.io",
        "Poria et al. 2019",
        "test/dia220_utt0",  # known bad
        "use_corpus_splits",
    ):
        assert said in shown
    assert ["joy", "happiness"] in [line.split() for line in shown.splitlines()]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'meld'"):
        describe("mled")
