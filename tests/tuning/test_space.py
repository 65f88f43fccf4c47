from __future__ import annotations

from typing import Any

import pytest

from components.contracts.config import Params
from components.contracts.errors import ConfigError
from components.tuning.space import Space, applied, in_words


def params_of(ranges: dict[str, Any], **sections: Any) -> Params:
    return Params.model_validate({"tune": {"ranges": ranges}, **sections})


def test_a_dimension_is_of_the_kind_of_its_setting() -> None:
    space = Space.of(
        params_of(
            {
                "train.learning_rate": {"low": "1e-4", "high": 1e-2, "log": True},
                "model.tcn_blocks": {"low": 1, "high": 4},
                "model.width": [32, 64],
                "model.causal": [True, False],
            }
        )
    )
    dimensions = space.dimensions
    assert list(dimensions) == ["model.causal", "model.tcn_blocks", "model.width", "train.learning_rate"]
    assert dimensions["model.causal"].choices == (True, False)
    assert dimensions["model.width"].choices == (32, 64)
    assert dimensions["model.tcn_blocks"].whole
    assert not dimensions["train.learning_rate"].whole
    assert dimensions["train.learning_rate"].log
    proposal = {"model.causal": True, "model.tcn_blocks": 2, "model.width": 64, "train.learning_rate": 0.00123456}
    assert space.settled(proposal) == {**proposal, "train.learning_rate": 0.00123}
    assert space.settled({**proposal, "train.learning_rate": 0.0000999})["train.learning_rate"] == 1e-4
    assert space.present == {
        "model.causal": False,
        "model.tcn_blocks": 3,
        "model.width": 64,
        "train.learning_rate": 0.002,
    }
    assert in_words({"model.width": 64, "model.causal": True}) == "model.width=64, model.causal=True"


def test_present_values_outside_of_the_ranges_are_no_trial() -> None:
    assert Space.of(params_of({"model.width": [16, 32]})).present is None
    assert Space.of(params_of({"model.dropout": {"low": 0.3, "high": 0.5}})).present is None


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ({}, r"nothing to search.*train\.learning_rate"),
        ({"train.learning_rat": [1.0]}, r"unknown setting.*Did you mean 'train\.learning_rate'"),
        ({"alignment.rate_hz": [5.0]}, "unknown setting"),
        ({"model": [1]}, "unknown setting"),
        ({"train.epochs": [10, 20]}, "same in every trial"),
        ({"model.width": []}, "no value to choose from"),
        ({"model.width": [64, 0]}, "greater than 0"),
        ({"model.dropout": {"low": 0.0, "high": 1.0}}, "less than 1"),
        ({"model.causal": {"low": 0, "high": 1}}, "a range is of numbers"),
        ({"model.fusion": {"low": 0, "high": 1}}, "a range is of numbers"),
        ({"model.fusion": ["product", "sum"]}, "product"),
    ],
)
def test_what_cannot_be_searched_is_named(ranges: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Space.of(params_of(ranges))


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"low": 2, "high": 1}, "low must be less than high"),
        ({"low": 0, "high": 1, "log": True}, "greater than 0"),
        ({"low": 0}, "Field required"),
    ],
)
def test_an_interval_is_checked_where_it_is_read(where: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        params_of({"model.dropout": where})


def test_values_are_checked_beside_the_others() -> None:
    params = params_of({"model.width": [32]}, train={"refit": True, "epochs": 3})
    tried = applied(params, {"model.width": 32, "train.feature_noise": 0.1})
    assert (tried.model.width, tried.train.feature_noise, tried.train.epochs, tried.train.refit) == (32, 0.1, 3, False)
    with pytest.raises(ConfigError, match=r"tune: model\.fusion=product"):
        applied(params, {"model.fusion": "product", "train.unimodal_loss": 0.0})


def test_what_is_searched_does_not_name_the_search() -> None:
    """So the best values, once they are written, do not begin it anew."""
    first = Space.of(params_of({"model.width": [32, 64]}))
    second = Space.of(params_of({"model.width": [32, 64]}, model={"width": 32}, train={"refit": True}))
    other = Space.of(params_of({"model.width": [32, 64]}, model={"heads": 2}))
    assert first.fixed() == second.fixed() != other.fixed()
