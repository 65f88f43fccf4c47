from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from components.contracts.pretrained import Pretrained
from components.contracts.requirements import pinned_requirements
from components.model.spec import UpperSpec
from components.registry.bundle import EncoderSpec, Expert
from components.registry.model_card import Cost, model_card, with_comparison
from components.registry.terms import Corpus, Count, Terms
from components.training.earlier import Taken
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


def made(name: str, *pairs: tuple[str, str]) -> Corpus:
    """A corpus with 24 clips of two people per pair of licence and consent."""
    terms = tuple(
        Terms(
            licence=licence,
            consent=consent,
            total=Count(clips=24, people=2),
            splits={"train": Count(clips=20, people=1), "test": Count(clips=4, people=1)},
        )
        for licence, consent in pairs
    )
    total = Count(clips=24 * len(pairs), people=2 * len(pairs))
    return Corpus(name=name, source=f"where {name} is", rendered=name == "synthetic", total=total, terms=terms)


def card(*names: str) -> str:
    return card_of(*(made(name, (f"licence of {name}", f"consent of {name}")) for name in names))


def card_of(*corpora: Corpus, **fields: Any) -> str:
    return model_card(
        name="mer",
        corpora=corpora,
        taxonomy="abaw8",
        catalog={**CATALOG, "datasets": {corpus.name: "a" * 64 for corpus in corpora}},
        metrics=done().metrics,
        gates=[gate.to_json() for gate in done().gates],
        encoders={"face": {"spec": "fer"}, "voice": {"spec": "whisper-tiny"}},
        cost=Cost(parameters=123_456, weights_bytes=2_500_000, seconds=0.012, clip_s=4.5),
        lineage={"lineage.git_commit": "c" * 40, "lineage.seed": "7"},
        **fields,
    )


def test_everything_that_a_reader_needs_is_in_it() -> None:
    text = card("synthetic")
    for words in (
        "# mer: emotion over time from face and voice",
        "They are **no evidence** of how well it works on real people",
        "Art. 5(1)(f)",
        "Art. 50(3)",
        "| face + voice |",
        "| majority |",
        "Worst emotions",
        "* **synthetic**: no real people: drawn and synthesised as 24 clips of 2 people; "
        "source: where synthetic is; hash `aaa",
        "  * licence: licence of synthetic\n    consent: consent of synthetic\n"
        "    clips: train 20 clips of 1 people, test 4 clips of 1 people\n",
        "No clip shows fear",
        "123,456 trained parameters, 2.5 MB of weights; 12 ms of one CPU for a clip of 4.5 s",
        "no real people: drawn and synthesised",
        "model of the preset `default`",
        "Confidence of clips: calibration error",
        "Planted contradictions (10) are separated from other clips with AUROC",
        "By `gender`: worst for",
        "* git commit: `cccc",
        "| gain over majority | passed | clip macro-F1 is ",
        "1 of 7 scripted texts are spoken in more than one split",
        "* `ravdess/x` (word_times, seen 0.1 to 9.0 s): The words are right.",
    ):
        assert words in text


def test_real_data_is_not_called_synthetic() -> None:
    assert "synthetic" not in card("ravdess")
    assert "Part of the data is a synthetic corpus" in card("ravdess", "synthetic")


def test_a_modality_that_a_pretrained_classifier_judges_is_said_to_be_unmeasured() -> None:
    own = Pretrained(labels=("anger", "fear"), temperature=1.0, trained_on="FER2013 (2013)")
    expert = Expert(encoder=EncoderSpec(spec="fer", fingerprint="f", width=3), classifier=own)
    text = card_of(made("ravdess", ("CC0", "in writing")), experts={"face": expert})
    [line] = [line for line in text.splitlines() if "not trained and not measured here" in line]
    assert line.startswith("* face: **not trained")
    assert "`fer`, trained on FER2013 (2013)" in line


def test_all_terms_of_a_corpus_are_listed_and_unknown_ones_come_first() -> None:
    text = card_of(made("ravdess", ("CC0", "in writing"), ("", "in writing"), ("CC BY 4.0", " Unknown ")))
    lines = [line.strip() for line in text.splitlines()]
    licences = [line for line in lines if line.startswith("* licence: ")]
    assert licences[0] == (
        "* licence: **unknown**: ask its owner under which licence it may be used, and do not use it until then"
    )
    assert licences[1:] == ["* licence: CC BY 4.0", "* licence: CC0"]
    assert [line for line in lines if line.startswith("consent: ")] == [
        "consent: in writing",
        "consent: **unknown**: ask its authors what the people in it agreed to, record that on its clips, and until "
        "then assume that they did not agree",
        "consent: in writing",
    ]
    assert "72 clips of 6 people" in text


def test_of_many_terms_the_rest_is_counted_and_unknown_ones_are_listed() -> None:
    pairs = [("CC0", f"form {number}") for number in range(20)]
    text = card_of(made("ravdess", *pairs, ("CC0", "")))
    assert "consent: **unknown**" in text
    assert "consent: form 4\n" in text
    assert "form 5" not in text
    assert "  * 15 more pairs of licence and consent, on 360 clips\n" in text


def test_text_from_a_table_is_not_markup() -> None:
    text = card_of(made("ravdess", ("CC0\n\n## Gates\n* passed", "<b>yes</b> | `x`")))
    assert "licence: CC0 \\#\\# Gates \\* passed\n" in text
    assert "consent: \\<b\\>yes\\</b\\> \\| \\`x\\`\n" in text


def test_requirements_are_pinned_and_sorted() -> None:
    pinned = pinned_requirements()
    assert pinned == sorted(pinned)
    assert not [line for line in pinned if line.count("==") != 1]
    assert "pytest" not in {line.split("==")[0] for line in pinned}


@pytest.mark.parametrize("name", ["torch", "mlflow", "pyarrow"])
def test_what_serving_needs_is_among_them(name: str) -> None:
    assert any(line.startswith(f"{name}==") for line in pinned_requirements())


def test_it_says_what_training_started_from_and_whose_figures_that_may_flatter() -> None:
    taken = Taken(
        name="starter",
        bundle_sha256="ab" * 32,
        corpora={"ravdess": "recorded", "faces": "recorded"},
        modalities=("voice",),
        classes=("anger", "sadness"),
        new_classes=("neutral",),
    )
    text = card_of(made("own", ("l", "c")), started=taken)
    assert "Training started from starter (bundle abababababab): voice and 2 classes taken over; anew neutral." in text
    assert "was trained on faces (recorded people) and ravdess (recorded people); its own terms hold" in text
    assert "among both" not in text
    assert "**ravdess is among both**: people of the test split may be" in card_of(
        made("ravdess", ("l", "c")), started=taken
    )


def test_the_gates_come_first_as_a_table_and_no_sentence_is_broken() -> None:
    text = card("ravdess")
    assert text.index("## Gates\n| gate | verdict | evidence |") < text.index("## Intended use")
    for before, after in pairwise(text.splitlines()):
        assert not (after[:1].islower() and before), (before, after)


def test_the_comparison_with_the_champion_is_on_top_and_replaced_by_the_next() -> None:
    gates = [{"name": "loss", "verdict": "not enough evidence", "passed": False, "words": "a | b"}]
    text = card("ravdess")
    first = with_comparison(text, gates, "3")
    title, section, _ = first.split("\n\n", 2)
    assert title == text.partition("\n\n")[0]
    assert section == (
        "## Against the champion, version 3\n"
        "| gate | verdict | evidence |\n|---|---|---|\n"
        "| loss | **not enough evidence** | a / b |"
    )
    second = with_comparison(first, [{**gates[0], "verdict": "passed", "passed": True}], "4")
    assert second.count("## Against") == 1
    assert "| loss | passed |" in second
    assert second.replace(second.split("\n\n")[1] + "\n\n", "") == text
    assert with_comparison("", gates, "3").startswith("## Against")


def test_layers_that_learned_are_not_called_frozen() -> None:
    lora = UpperSpec(encoder="e", base_sha256="0" * 64, width=8, heads=2, layers=2, learned=1, method="lora", rank=4)
    text = card_of(made("ravdess", ("licence", "consent")), upper={"voice": lora})
    assert "* face: encoder `fer` (frozen)\n" in text
    assert (
        "* voice: encoder `whisper-tiny` (frozen); of the 2 layers after it the last 1 learned with the model "
        "(LoRA of rank 4)\n" in text
    )
    weights = replace(lora, learned=2, method="weights", rank=0)
    text = card_of(made("ravdess", ("licence", "consent")), upper={"voice": weights})
    assert "the last 2 learned with the model (all their weights)" in text
