from __future__ import annotations

import pytest

from components.contracts.config import Params, Train, parse_params
from components.contracts.errors import ConfigError
from components.contracts.presets import defaults_of, with_preset

KNOWN = ("synthetic",)


def paper(**sections: dict[str, object]) -> Params:
    return parse_params({**sections, "model": {"preset": "paper", **sections.get("model", {})}}, KNOWN)


def test_the_paper_is_trained_with_the_published_values() -> None:
    model, train = paper().model, paper().train
    assert (train.learning_rate, train.learning_rate * train.final_rate) == pytest.approx((1e-5, 1e-6))
    assert (train.schedule, train.warmup_fraction, train.epochs) == ("epoch", 0.0, 30)
    assert (train.weight_decay, train.decay_all, train.gradient_clip) == (1e-2, True, 1.0)
    assert train.batch_clips == 32 * 2
    assert (train.class_weighting, train.label_smoothing, train.ema_decay) == ("inverse_frequency", 0.0, 0.0)
    assert (train.contrastive_loss, train.contrastive_kind) == (0.1, "info_nce")
    assert train.contrastive_prompt == "A face expressing {emotion}"
    assert train.windows
    assert (train.clip_loss, train.step_loss, train.unimodal_loss, train.valence_arousal_loss) == (1.0, 0.0, 0.0, 0.0)
    assert (model.window_s, model.stride_s, model.fill_s) == pytest.approx((90 / 30, 15 / 30, 5 / 30))
    assert (model.modality_dropout, train.feature_noise, model.standardise) == (0.0, 0.0, False)


def test_the_paper_has_no_loss_but_its_own() -> None:
    train = paper().train
    assert {name for name in Train.loss_weights() if getattr(train, name)} == {"clip_loss", "contrastive_loss"}
    defaults = defaults_of("paper", [*Train.loss_weights(), "later_loss"])["train"]
    assert defaults["later_loss"] == 0.0
    assert defaults["clip_loss"] == 1.0
    merged = with_preset({"model": {"preset": "paper"}}, where="here", loss_weights=["later_loss"])
    assert merged["train"]["later_loss"] == 0.0
    asked = {"model": {"preset": "paper"}, "train": {"later_loss": 0.2}}
    assert with_preset(asked, where="here", loss_weights=["later_loss"])["train"]["later_loss"] == 0.2
    assert "later_loss" not in with_preset({}, where="here", loss_weights=["later_loss"]).get("train", {})


def test_the_default_preset_changes_nothing() -> None:
    assert parse_params({"model": {"preset": "default"}}, KNOWN) == parse_params({}, KNOWN)


def test_a_key_that_is_set_wins_over_the_preset() -> None:
    params = paper(model={"window_s": 1.0}, train={"epochs": 2, "decay_all": False})
    assert (params.model.window_s, params.train.epochs, params.train.decay_all) == (1.0, 2, False)
    assert params.train.learning_rate == 1e-5


def test_what_a_preset_fills_in_is_not_called_set() -> None:
    params = paper(train={"epochs": 2})
    assert params.model.model_fields_set == {"preset"}
    assert params.train.model_fields_set == {"epochs"}
    given = params.model_dump(exclude_unset=True, exclude={"sources"})
    back = parse_params({**given, "model": {"preset": "default"}}, KNOWN)
    assert back == parse_params({"train": {"epochs": 2}}, KNOWN)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"model": {"preset": "papr"}}, ["model.preset", "unknown preset", "papr", "Did you mean 'paper'?"]),
        ({"model": {"preset": 3}}, ["model.preset", "'default' or 'paper'"]),
        ({"model": {"preset": "paper", "width": 96}}, ["model.width", "has no effect in preset paper", "96"]),
        ({"model": {"preset": "paper", "causal": True}}, ["model.causal", "has no effect in preset paper"]),
        ({"model": {"preset": "paper"}, "train": {"unimodal_loss": 0.3}}, ["train.unimodal_loss", "has no effect"]),
        ({"model": {"preset": "paper"}, "train": [3]}, ["train"]),
        ({"model": {"preset": "paper", "fil_s": 1}}, ["model.fil_s", "Did you mean 'fill_s'?"]),
    ],
)
def test_what_is_wrong_is_said(raw: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_params(raw, KNOWN)
    for word in words:
        assert word in str(caught.value)
