from __future__ import annotations

from typing import get_args

import pytest

from components.contracts.config import Model
from components.contracts.errors import ModelError
from components.contracts.presets import PRESETS
from components.model.build import BUILDERS, build_model, used_modalities
from components.model.model import TemporalModel
from components.model.published.paper_clips import PaperClipModel
from components.model.spec import ModelSpec


@pytest.mark.parametrize(("preset", "kind"), [("default", TemporalModel), ("paper", PaperClipModel)])
def test_the_preset_of_a_spec_says_which_model(preset: str, kind: type) -> None:
    spec = ModelSpec(
        modalities={"face": 6, "voice": 5}, classes=("one", "two"), model=Model.model_validate({"preset": preset})
    )
    model = build_model(spec)
    assert type(model) is kind
    assert model.spec == spec


def test_every_preset_can_be_named_has_defaults_and_a_model() -> None:
    assert set(get_args(Model.model_fields["preset"].annotation)) == PRESETS.keys() == BUILDERS.keys()


def test_the_default_takes_what_there_is_and_the_paper_its_own_two() -> None:
    there = ["voice", "text", "face"]
    assert used_modalities(Model(), there) == ("face", "text", "voice")
    assert used_modalities(Model(preset="paper"), there) == ("face", "voice")


def test_the_papers_face_is_what_there_is_of_faces() -> None:
    paper = Model(preset="paper")
    assert used_modalities(paper, ["voice", "face_au", "text"]) == ("face_au", "voice")
    assert used_modalities(paper, ["voice", "face_au", "face"]) == ("face", "voice")
    with pytest.raises(ModelError, match=r"several modalities could be the face.*face_au, face_mesh.*begins with it"):
        used_modalities(paper, ["voice", "face_mesh", "face_au"])
    with pytest.raises(ModelError, match=r"none of face and voice.*seen .text.*or else the one"):
        used_modalities(paper, ["text"])


def test_a_modality_that_the_preset_needs_is_named() -> None:
    with pytest.raises(ModelError) as caught:
        used_modalities(Model(preset="paper"), ["text", "face"])
    for words in (
        "model.preset: paper",
        "none of voice",
        "face, text",
        "begins with it, and voice",
        "features.encoders.voice",
    ):
        assert words in str(caught.value)
