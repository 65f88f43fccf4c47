from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.catalog.cases import Case
from components.catalog.examples import Example
from components.contracts.findings import comparison_in_words, overlap_in_words
from components.evaluation.intervals import Bootstrap
from components.evaluation.versions.earlier import compare, people_of, shared
from components.features.base import Encoded
from components.model.carried import shared_classes
from components.training.earlier import Earlier
from tests.evaluation.made import CLASSES, WIDTHS, make_split, trained_model
from tests.evaluation.test_evaluate import CONFIG, done
from tests.training.earlier import write_earlier

BOOTSTRAP = Bootstrap(draws=CONFIG.bootstrap, confidence=CONFIG.confidence)
ENCODERS = {name: {"spec": "toy", "fingerprint": "0", "width": width} for name, width in WIDTHS.items()}


def examples() -> list[Example]:
    return [example_of(case) for case in make_split("test", 5)]


def example_of(case: Case) -> Example:
    """The clip under a transform of mean 1 and spread 3 is this case."""
    return Example(
        clip_id=case.clip_id,
        dataset=case.dataset,
        subject_id=case.subject_id,
        split="test",
        encoded={name: Encoded(case.features[name] * 3 + 1, mask) for name, mask in case.masks.items() if mask.any()},
        num_steps=case.steps,
        rate_hz=case.rate_hz,
        step_labels=case.step_labels,
        clip_label=case.clip_label,
        groups=case.groups,
        planted=case.planted,
        valence=None,
        arousal=None,
    )


def compared(folder: Path, encoders: dict[str, Any] = ENCODERS, **changes: Any) -> dict[str, Any]:
    spec = replace(trained_model().spec, **changes)
    write_earlier(folder, spec)
    earlier = Earlier.read(folder)
    assert earlier is not None
    return compare(earlier, done(), examples(), spec=trained_model().spec, encoders=encoders, bootstrap=BOOTSTRAP)


def test_a_drawn_model_is_worse_and_the_difference_is_paired(tmp_path: Path) -> None:
    figures = compared(tmp_path)
    assert figures["classes"] == list(CLASSES)
    assert figures["modalities"] == ["face", "voice"]
    assert figures["own"]["macro_f1"]["value"] == pytest.approx(done().metrics["clip"]["macro_f1"]["value"], abs=1e-6)
    gain = figures["gain"]["macro_f1"]
    assert gain["value"] == pytest.approx(
        figures["own"]["macro_f1"]["value"] - figures["earlier"]["macro_f1"]["value"], abs=2e-6
    )
    assert 0 < gain["low"] < gain["value"]
    words = comparison_in_words({"compared": figures})
    assert words.startswith(f"Beside starter, on {figures['items']} clips of 5 test people and the 4 classes of both")
    assert "may have learned" not in words


def test_the_same_model_does_not_differ(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    write_earlier(tmp_path, trained_model().spec)
    weights = {name: value.contiguous() for name, value in trained_model().state_dict().items()}
    save_file(weights, tmp_path / "model.safetensors")
    earlier = Earlier.read(tmp_path)
    assert earlier is not None
    earlier = replace(earlier, description={**earlier.description, "calibration": done().fitted.calibration.to_json()})
    figures = compare(earlier, done(), examples(), spec=trained_model().spec, encoders=ENCODERS, bootstrap=BOOTSTRAP)
    assert figures["gain"]["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_classes_of_both_count_alone_whatever_their_order(tmp_path: Path) -> None:
    figures = compared(tmp_path, classes=("sadness", "calm", "anger", "neutral"), absent=("neutral",))
    assert figures["classes"] == ["anger", "sadness"]
    labels = [CLASSES[case.clip_label] for case in make_split("test", 5)]
    assert figures["items"] == labels.count("anger") + labels.count("sadness")


@pytest.mark.parametrize(
    ("changes", "encoders", "reason"),
    [
        ({"rate_hz": 5.0}, ENCODERS, "its grid has 5 steps per second, that of these clips 10"),
        ({"classes": ("anger", "calm", "bored")}, ENCODERS, "fewer than two classes are in both (in both: anger; in"),
        (
            {},
            {name: {**own, "spec": "new", "fingerprint": "9"} for name, own in ENCODERS.items()},
            "trained with (here face: new, voice: new; there face: toy, voice: toy)",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(
    tmp_path: Path, changes: dict[str, Any], encoders: dict[str, Any], reason: str
) -> None:
    figures = compared(tmp_path, encoders, **changes)
    assert reason in figures["why_not"]
    assert "gain" not in figures
    assert comparison_in_words({"compared": figures}) == f"Not compared with starter: {figures['why_not']}."


def test_a_modality_of_another_encoder_is_hidden_from_the_earlier_version(tmp_path: Path) -> None:
    other = {**ENCODERS, "face": {"spec": "new", "fingerprint": "9", "width": 6}}
    assert compared(tmp_path / "one", other)["modalities"] == ["voice"]


def test_people_whom_it_may_know_are_counted() -> None:
    cases = [*make_split("test", 5)]
    assert people_of({"tiny": "recorded", "else": "recorded"}, cases) == {"tiny": 5}
    words = overlap_in_words({"name": "starter", "test_people_of_its_corpora": {"tiny": 5, "faces": 2}})
    assert "may be too good: 5 of tiny, 2 of faces are in a corpus that it was trained on." in words
    assert not comparison_in_words({})


def test_steps_are_compared_where_clips_have_no_label(tmp_path: Path) -> None:
    steps = replace(done(), level="step")
    write_earlier(tmp_path, trained_model().spec)
    earlier = Earlier.read(tmp_path)
    assert earlier is not None
    figures = compare(earlier, steps, examples(), spec=trained_model().spec, encoders=ENCODERS, bootstrap=BOOTSTRAP)
    assert figures["own"]["macro_f1"]["value"] == pytest.approx(done().metrics["step"]["macro_f1"]["value"], abs=1e-6)
    assert shared(trained_model().spec, earlier.spec) == shared_classes(trained_model().spec, earlier.spec)
    assert np.isfinite(figures["gain"]["macro_f1"]["low"])
