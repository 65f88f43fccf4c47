"""The counters that the service really writes, read back as a profile."""

from __future__ import annotations

import pytest

from components.contracts.errors import DataError
from components.inference.profile import Profile
from components.monitoring.exposition import read_exposition
from components.serving.answers.schemas import Answer
from components.serving.metrics import ServiceMetrics
from tests.serving.answers.test_schemas import answer_fields


def exposed(metrics: ServiceMetrics) -> Profile:
    counted = read_exposition(metrics.exposition().decode(), where="here")
    assert (counted.version, counted.mixed) == ("3", False)
    return counted.profile


def test_what_the_service_counted_is_the_profile_of_its_answers() -> None:
    answer = Answer.model_validate(answer_fields())
    metrics = ServiceMetrics()
    metrics.served(answer.model, before=None)
    metrics.answered(answer)
    without = answer.model_copy(update={"presence": {"face": 0.0, "voice": 1.0}, "emotion": None, "confidence": None})
    first = exposed(metrics)
    metrics.answered(without)
    metrics.answered(without)
    assert first.tables == {
        "confidence": {"0.7": 1},
        "contradiction": {"0.6": 1},
        "distance.face": {"1.5": 1},
        "emotion": {"anger": 1},
        "presence.face": {"missing": 0, "present": 1},
        "presence.voice": {"missing": 0, "present": 1},
    }
    assert exposed(metrics).since(first).tables == {
        "contradiction": {"0.6": 2},
        "distance.face": {"1.5": 2},
        "emotion": {"none": 2},
        "presence.face": {"missing": 2},
        "presence.voice": {"present": 2},
    }


def test_answers_of_an_earlier_version_are_said_to_be_there() -> None:
    answer = Answer.model_validate(answer_fields())
    metrics = ServiceMetrics()
    metrics.answered(answer)
    later = answer.model.model_copy(update={"version": "4"})
    metrics.served(answer.model, before=None)
    metrics.served(later, before=answer.model)
    counted = read_exposition(metrics.exposition().decode(), where="here")
    assert (counted.version, counted.mixed) == ("4", True)


@pytest.mark.parametrize("text", ["", "hello world\n", "<html>", 'mer_answers_total{emotion="anger",version="3"} 2\n'])
def test_what_is_not_the_metrics_of_a_serving_service_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        read_exposition(text, where="here")
