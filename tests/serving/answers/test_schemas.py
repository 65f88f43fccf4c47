from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from components.contracts.errors import MediaError
from components.serving.answers.schemas import Answer, Problem


def answer_fields() -> dict[str, object]:
    return {
        "schema": "mer.answer/1",
        "model": {
            "name": "mer",
            "version": "3",
            "git_commit": "c0ffee" * 6,
            "data_sha256": "d" * 64,
            "bundle_sha256": "b" * 64,
            "trained_on": "recordings of people (toy)",
        },
        "clip": {"name": "a.mp4", "duration_s": 0.2, "rate_hz": 10.0, "language": "en"},
        "presence": {"face": 0.5, "voice": 1.0},
        "notes": ["sound only"],
        "posterior": {"neutral": 0.3, "anger": 0.7},
        "emotion": "anger",
        "confidence": 0.7,
        "contradiction": {
            "score": 0.6,
            "threshold": 0.5,
            "at_s": 0.1,
            "pair": ["face", "voice"],
            "modalities": {
                "face": {"emotion": "neutral", "confidence": 0.9, "posterior": {"neutral": 0.9, "anger": 0.1}},
                "voice": {"emotion": "anger", "confidence": 0.8, "posterior": {"neutral": 0.2, "anger": 0.8}},
            },
            "words": "The modalities contradict each other.",
        },
        "contradictions": [
            {
                "onset_s": 0.0,
                "offset_s": 0.1,
                "score": 0.6,
                "pair": ["face", "voice"],
                "says": {"face": "neutral", "voice": "anger"},
                "words": "0.0 to 0.1 s: the face shows neutral (90 %), the voice shows anger (80 %)",
            }
        ],
        "valence": -0.5,
        "arousal": 0.25,
        "outside_training": {
            "flag": True,
            "modalities": {"face": {"distance": 3.0, "threshold": 2.0, "outside": True}},
            "words": "This clip is unlike the training data.",
        },
        "adapted_to": "studio (voice of 24)",
        "timeline": [
            {
                "start_s": 0.0,
                "end_s": 0.1,
                "emotion": "anger",
                "posterior": {"neutral": 0.2, "anger": 0.8},
                "present": ["face", "voice"],
                "contradiction": 0.6,
                "valence": -0.6,
                "arousal": 0.3,
            },
            {
                "start_s": 0.1,
                "end_s": 0.2,
                "emotion": None,
                "posterior": {},
                "present": [],
                "contradiction": None,
                "valence": None,
                "arousal": None,
            },
        ],
        "face_boxes": [[0.25, 0.1, 0.5, 0.4], None],
        "episodes": [
            {
                "onset_s": 0.0,
                "offset_s": 0.2,
                "emotion": "anger",
                "intensity": 0.8,
                "kind": "sustained",
                "why": {
                    "first": "voice",
                    "most": "voice",
                    "modalities": {
                        "face": {"change": -0.1, "turned_at_s": None, "instead": "anger"},
                        "voice": {"change": 0.6, "turned_at_s": 0.1, "instead": "neutral"},
                    },
                    "spoken": "we won",
                    "words": "It rests most on the voice.",
                },
            }
        ],
        "transitions": [{"at_s": 0.1, "before": "neutral", "after": "anger", "why": None}],
    }


def test_an_answer_survives_its_json() -> None:
    answer = Answer.model_validate(answer_fields())
    text = answer.to_json()
    assert "\n" not in text
    assert json.loads(text) == answer_fields()
    assert Answer.model_validate_json(text) == answer


def later(value: object) -> object:
    """The same answer as a later version of this schema may write it: with one more field in every record."""
    if isinstance(value, list):
        return [later(item) for item in value]
    if not isinstance(value, dict):
        return value
    # A mapping by class or modality has no fields of its own.
    by_name = not value or set(value) <= {"face", "voice", "text", "physio", "neutral", "anger"}
    return {**{key: later(item) for key, item in value.items()}, **({} if by_name else {"added_later": [1, "x"]})}


def test_a_different_schema_is_refused() -> None:
    with pytest.raises(ValidationError):
        Answer.model_validate({**answer_fields(), "schema": "mer.answer/2"})


def test_fields_that_a_later_version_adds_are_left_out() -> None:
    text = json.dumps(later(answer_fields()))
    assert text.count("added_later") >= 10
    assert Answer.model_validate_json(text) == Answer.model_validate(answer_fields())


def test_clients_that_are_generated_from_the_schema_may_get_more_fields() -> None:
    schema = Answer.model_json_schema()
    records = [schema, *schema["$defs"].values()]
    assert all(record.get("additionalProperties", True) for record in records if record["type"] == "object")


def test_every_field_whose_name_does_not_explain_it_is_documented() -> None:
    documented = Answer.model_json_schema()["$defs"]
    for record in ("ModelIdentity", "ClipFacts", "Contradiction", "ModalityDistance", "ModalityView"):
        for name, field in documented[record]["properties"].items():
            assert field.get("description"), f"{record}.{name}"


def test_a_problem_has_every_field_of_the_error() -> None:
    error = MediaError("too long", where="a.mp4", seen=400, allowed="at most 300 s", remedy="Cut it.", code="too-long")
    assert Problem.of(error).model_dump() == {
        "error": {
            "code": "too-long",
            "what": "too long",
            "where": "a.mp4",
            "seen": "400",
            "allowed": "at most 300 s",
            "remedy": "Cut it.",
        },
        "request_id": None,
    }
