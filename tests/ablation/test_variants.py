from __future__ import annotations

import pytest

from components.ablation.variants import DEFAULT, VARIANTS, Variant, choose
from components.contracts.config import Params
from components.contracts.errors import ConfigError


def test_every_variant_is_a_configuration_and_they_differ() -> None:
    params = Params.model_validate({"train": {"epochs": 3}, "sources": {"synthetic": {"seed": 1}}})
    configurations = {}
    for variant in VARIANTS:
        applied = variant.applied(params)
        assert applied.train.epochs == 3
        assert applied.sources == params.sources
        for section, changes in (("model", variant.model), ("train", variant.train)):
            for key, value in changes.items():
                assert getattr(getattr(applied, section), key) == value
        configurations[variant.name] = (applied.model, applied.train)
    assert configurations[DEFAULT] == (params.model, params.train)
    assert len({repr(one) for one in configurations.values()}) > len(VARIANTS) / 2


def test_a_value_that_is_not_allowed_names_the_variant() -> None:
    with pytest.raises(ConfigError, match="variant odd"):
        Variant(name="odd", about="", model={"fusion": "addition"}).applied(Params())


def test_the_default_is_always_there_and_first() -> None:
    assert [variant.name for variant in choose(["causal", "one_way"], ["face", "voice"])] == [
        DEFAULT,
        "one_way",
        "causal",
    ]
    everything = choose([], ["face", "voice"])
    assert {variant.name for variant in everything} == {one.name for one in VARIANTS} | {
        "unimodal_face",
        "unimodal_voice",
    }
    assert not any(variant.name.startswith("unimodal") for variant in choose([], ["voice"]))
    assert {variant.name for variant in everything if not variant.candidate} == {
        "accuracy",
        "balanced",
        "causal",
        "unimodal_face",
        "unimodal_voice",
    }
    with pytest.raises(ConfigError, match="Did you mean 'one_way'"):
        choose(["oneway"], ["face", "voice"])
