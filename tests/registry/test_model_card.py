from __future__ import annotations

import pytest

from components.registry.model_card import Corpus, Cost, model_card
from components.registry.requirements import pinned_requirements
from tests.evaluation.test_evaluate import done

CATALOG = {
    "classes": ["neutral", "anger", "happiness", "sadness"],
    "absent_classes": ["fear"],
    "datasets": {"synthetic": "a" * 64, "ravdess": "b" * 64},
    "splits": {"train": {"clips": 96, "subjects": 8}, "test": {"clips": 60, "subjects": 5}},
    "texts": 7,
    "shared_texts": {"synthetic/a-1": {"train": 5, "test": 3}},
    "readmitted": [
        {"clip_id": "ravdess/x", "code": "word_times", "seen": "0.1 to 9.0 s", "reason": "The words are right."}
    ],
}


def card(*names: str) -> str:
    return model_card(
        name="mer",
        corpora=[Corpus(name=name, licence=f"licence of {name}") for name in names],
        taxonomy="abaw8",
        catalog=CATALOG,
        metrics=done().metrics,
        gates=[gate.to_json() for gate in done().gates],
        encoders={"face": {"spec": "fer"}, "voice": {"spec": "whisper-tiny"}},
        cost=Cost(parameters=123_456, weights_bytes=2_500_000, seconds=0.012, clip_s=4.5),
        lineage={"lineage.git_commit": "c" * 40, "lineage.seed": "7"},
    )


def test_it_says_what_a_reader_must_know() -> None:
    text = card("synthetic")
    for words in (
        "# mer: emotion over time from face and voice",
        "They say **nothing** about how well it\nreads real people".replace("\n", " "),
        "Art. 5(1)(f)",
        "Art. 50(3)",
        "| face + voice |",
        "| majority |",
        "Worst emotions",
        "licence of synthetic",
        "No clip shows fear",
        "123,456 trained parameters, 2.5 MB of weights; 12 ms of one CPU for a clip of 4.5 s",
        "nobody: drawn and synthesised",
        "model of the preset `default`",
        "Confidence of clips: calibration error",
        "Planted contradictions (10) are told from other clips with AUROC",
        "By `gender`: worst for",
        "* git commit: `cccc",
        "passed: clip macro-F1 is at least",
        "1 of 7 scripted texts are spoken in more than one split",
        "* `ravdess/x` (word_times, seen 0.1 to 9.0 s): The words are right.",
    ):
        assert words in text


def test_real_data_is_not_called_synthetic() -> None:
    assert "synthetic" not in card("ravdess")
    assert "Part of the data is a synthetic corpus" in card("ravdess", "synthetic")


def test_requirements_are_pinned_and_sorted() -> None:
    pinned = pinned_requirements()
    assert pinned == sorted(pinned)
    assert not [line for line in pinned if line.count("==") != 1]
    assert "pytest" not in {line.split("==")[0] for line in pinned}


@pytest.mark.parametrize("name", ["torch", "mlflow", "pyarrow"])
def test_what_serving_needs_is_among_them(name: str) -> None:
    assert any(line.startswith(f"{name}==") for line in pinned_requirements())
