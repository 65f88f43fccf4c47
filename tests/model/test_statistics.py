from __future__ import annotations

from itertools import starmap

import pytest
import torch

from components.model.statistics import (
    MIN_SPREAD_STEPS,
    SMALLEST_SPREAD,
    ClipStatistics,
    MomentsOfClips,
    StatisticsHead,
    moments_of,
    plain,
    standardisation,
)


def clips(count: int = 6, steps: int = 9, width: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x_BTD = torch.randn(count, steps, width, generator=generator) * 2 + 1
    mask_BT = torch.rand(count, steps, generator=generator) > 0.3
    mask_BT[:, 0] = True
    return x_BTD, mask_BT


def test_mean_and_deviation_are_of_the_valid_steps_alone() -> None:
    x_BTD, mask_BT = clips()
    layer = ClipStatistics(3)
    for clip, (x_TD, mask_T) in enumerate(zip(x_BTD, mask_BT, strict=True)):
        valid = x_TD[mask_T]
        spread = valid.std(0, correction=0) if len(valid) >= MIN_SPREAD_STEPS else torch.zeros(3)
        expected = torch.cat([valid.mean(0), spread])
        assert torch.allclose(layer(x_BTD, mask_BT)[clip], expected, atol=1e-5)
    spoiled = torch.where(mask_BT.unsqueeze(-1), x_BTD, torch.nan)
    assert torch.equal(layer(spoiled, mask_BT), layer(x_BTD, mask_BT))


def test_standardised_over_training_clips_they_have_mean_0_and_deviation_1() -> None:
    x_BTD, mask_BT = clips(count=40, steps=30)
    layer = ClipStatistics(3)
    layer.set_from(zip(x_BTD, mask_BT, strict=True))
    statistics_BS = layer(x_BTD, mask_BT)
    assert torch.allclose(statistics_BS.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(statistics_BS.std(0, correction=0), torch.ones(6), atol=1e-4)


def test_what_does_not_vary_and_what_was_never_seen_stay_finite() -> None:
    still = torch.full((4, 5, 2), 3.0)
    present = torch.ones(4, 5, dtype=torch.bool)
    centre_S, spread_S = standardisation(starmap(moments_of, zip(still, present, strict=True)), 2)
    assert torch.equal(spread_S, torch.zeros(4))
    assert torch.equal(centre_S, torch.tensor([3.0, 3.0, 0.0, 0.0]))
    layer = ClipStatistics(2)
    layer.load_state_dict({"centre": centre_S, "spread": spread_S})
    assert torch.equal(layer(still + 1, present), torch.zeros(4, 4))
    centre_S, spread_S = standardisation(starmap(moments_of, zip(still, ~present, strict=True)), 2)
    assert torch.equal(centre_S, torch.zeros(4))
    assert torch.equal(spread_S, torch.zeros(4))


def test_an_absent_modality_is_the_average_clip() -> None:
    x_BTD, mask_BT = clips()
    layer = ClipStatistics(3)
    layer.load_state_dict({"centre": torch.full((6,), 5.0), "spread": torch.ones(6)})
    assert torch.equal(layer(x_BTD, torch.zeros_like(mask_BT)), torch.zeros(6, 6))


def fitted() -> tuple[ClipStatistics, torch.Tensor]:
    """A layer with the statistics of 40 clips of 30 steps, and the clips."""
    x_BTD = clips(count=40, steps=30)[0]
    layer = ClipStatistics(3)
    layer.set_from((x_TD, torch.ones(30, dtype=torch.bool)) for x_TD in x_BTD)
    return layer, x_BTD


def stills(x_BTD: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Clips (B, T, D) without a spread: of one step, of too few, and one moment that is held, with a codec's noise."""
    count, steps, width = x_BTD.shape
    valid = torch.ones(count, steps, dtype=torch.bool)
    noise = 0.03 * torch.randn(count, steps, width, generator=torch.Generator().manual_seed(5))
    held = x_BTD[:, :1].expand(-1, steps, -1)
    return {
        "one step": (x_BTD[:, :1], valid[:, :1]),
        "one step among invalid ones": (x_BTD, torch.arange(steps) == valid.new_tensor(4, dtype=torch.long)),
        "few steps": (x_BTD[:, : MIN_SPREAD_STEPS - 1], valid[:, : MIN_SPREAD_STEPS - 1]),
        "a held moment": (held, valid),
        "a held moment with noise": (held + noise, valid),
    }


def test_a_spread_that_does_not_exist_is_that_of_the_average_clip() -> None:
    layer, x_BTD = fitted()
    for name, (x_BtD, mask_Bt) in stills(x_BTD).items():
        mask_Bt = mask_Bt.expand(len(x_BTD), -1)  # noqa: PLW2901
        statistics_BS = layer(x_BtD, mask_Bt)
        assert torch.equal(statistics_BS[:, 3:], torch.zeros(40, 3)), name
        first = plain(layer.advance(x_BtD, mask_Bt, layer.start(40))[1]).float()
        assert torch.allclose(statistics_BS[:, :3], ((first - layer.centre) / layer.spread)[:, :3].clamp(-6, 6)), name
    moving = layer(x_BTD, torch.ones(40, 30, dtype=torch.bool))
    assert (moving[:, 3:] != 0).all()


def test_clips_without_a_spread_leave_the_usual_spread_alone() -> None:
    layer, x_BTD = fitted()
    recorded = [(x_TD, torch.ones(30, dtype=torch.bool)) for x_TD in x_BTD]
    for name, (x_BtD, mask_Bt) in stills(x_BTD).items():
        mask_Bt = mask_Bt.expand(len(x_BTD), -1)  # noqa: PLW2901
        centre_S, spread_S = standardisation(starmap(moments_of, [*recorded, *zip(x_BtD, mask_Bt, strict=True)]), 3)
        assert torch.equal(centre_S[3:], layer.centre[3:]), name
        assert torch.equal(spread_S[3:], layer.spread[3:]), name
        assert not torch.equal(centre_S[:3], layer.centre[:3]), name


def test_from_photographs_alone_there_is_no_spread_to_compare_with() -> None:
    x_BTD = clips(count=40, steps=1)[0]
    layer = ClipStatistics(3)
    layer.set_from((x_TD, torch.ones(1, dtype=torch.bool)) for x_TD in x_BTD)
    assert torch.equal(layer.spread > 0, torch.tensor([True] * 3 + [False] * 3))
    moving = layer(clips(count=5, steps=30)[0], torch.ones(5, 30, dtype=torch.bool))
    assert torch.equal(moving[:, 3:], torch.zeros(5, 3))
    assert (moving[:, :3] != 0).all()


def test_recordings_are_standardised_to_the_last_bit_as_if_all_had_a_spread() -> None:
    x_BTD, mask_BT = clips(count=40, steps=30, width=35)
    layer = ClipStatistics(35)
    rows_NS = plain(layer.advance(x_BTD, mask_BT, layer.start(40))[1])
    layer.set_from(zip(x_BTD, mask_BT, strict=True))
    deviation_S = rows_NS.std(0, correction=0)
    assert deviation_S.min() > SMALLEST_SPREAD
    assert torch.equal(layer.centre, rows_NS.mean(0).float())
    assert torch.equal(layer.spread, deviation_S.float())
    expected = (rows_NS.float() - layer.centre) / layer.spread
    assert torch.equal(layer(x_BTD, mask_BT), expected.clamp(-6, 6))


def test_step_by_step_they_are_those_of_every_prefix() -> None:
    x_BTD, mask_BT = clips(steps=30)
    layer = ClipStatistics(3)
    moments = layer.start(6)
    for step in range(30):
        now_BS, moments = layer.advance(x_BTD[:, step : step + 1], mask_BT[:, step : step + 1], moments)
        assert torch.allclose(now_BS, layer(x_BTD[:, : step + 1], mask_BT[:, : step + 1]), atol=1e-6)


def test_a_long_stream_does_not_drift() -> None:
    x_BTD = torch.randn(1, 36_000, 1, generator=torch.Generator().manual_seed(1)) * 0.01 + 10
    layer = ClipStatistics(1)
    _, moments = layer.advance(x_BTD, torch.ones(1, 36_000, dtype=torch.bool), layer.start(1))
    exact = x_BTD.double()
    assert plain(moments)[0, 0] == pytest.approx(float(exact.mean()), abs=1e-9)
    assert plain(moments)[0, 1] == pytest.approx(float(exact.std(correction=0)), rel=1e-6)


def test_modalities_weigh_alike_whatever_their_width() -> None:
    head = StatisticsHead(
        {"a": ClipStatistics(2), "b": ClipStatistics(50)}, 3, hidden=8, dropout=0.0, noise=0.5, mixup=0.4
    )
    statistics = {"a": torch.ones(1, 4), "b": torch.ones(1, 100)}
    assert torch.equal(head(statistics), head(statistics))
    seen = []
    head.hidden.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(statistics)
    assert torch.allclose(seen[0][0, :4].norm(), seen[0][0, 4:].norm())


def test_a_static_modality_weighs_as_much_as_one_that_varies_over_time() -> None:
    head = StatisticsHead(
        {"a": ClipStatistics(2), "b": ClipStatistics(2)}, 3, hidden=8, dropout=0.0, noise=0.0, mixup=0.0
    ).eval()
    static = head.by_modality["a"]
    static.load_state_dict({"centre": torch.zeros(4), "spread": torch.tensor([1.0, 1.0, 0.0, 0.0])})
    values = {"a": torch.tensor([[1.0, 1.0, 0.0, 0.0]]), "b": torch.ones(1, 4)}
    seen = []
    head.hidden.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(values)
    assert torch.allclose(seen[0][0, :4].norm(), seen[0][0, 4:].norm())


def test_without_noise_and_mixing_the_targets_are_the_batch_itself() -> None:
    head = StatisticsHead({"a": ClipStatistics(2)}, 3, hidden=8, dropout=0.0, noise=0.0, mixup=0.0)
    statistics = {"a": torch.randn(5, 4, generator=torch.Generator().manual_seed(0))}
    targets = head.mixed_targets(statistics)
    assert torch.equal(targets.scores, head(statistics))
    assert targets.item.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(targets.weight, torch.ones(5))
    noisy = StatisticsHead({"a": ClipStatistics(2)}, 3, hidden=8, dropout=0.0, noise=0.5, mixup=0.0)
    assert not torch.equal(noisy.mixed_targets(statistics).scores, noisy.mixed_targets(statistics).scores)


def test_a_mixture_is_scored_once_and_counts_for_both_of_its_clips() -> None:
    torch.manual_seed(3)
    head = StatisticsHead({"a": ClipStatistics(2)}, 3, hidden=8, dropout=0.0, noise=0.0, mixup=0.4)
    statistics = {"a": torch.randn(6, 4)}
    shares = set()
    for _ in range(20):
        seen: list[torch.Tensor] = []
        hook = head.hidden.register_forward_pre_hook(lambda _, inputs, into=seen: into.append(inputs[0]))
        targets = head.mixed_targets(statistics)
        hook.remove()
        own, other = targets.item[:6], targets.item[6:]
        share = float(targets.weight[0])
        shares.add(share)
        assert 0.5 <= share <= 1.0
        assert torch.equal(own, torch.arange(6))
        assert torch.equal(other.sort().values, own)
        assert torch.equal(targets.scores[:6], targets.scores[6:])
        assert torch.allclose(targets.weight[:6] + targets.weight[6:], torch.ones(6))
        inputs = statistics["a"] * head.by_modality["a"].gain
        (mixed,) = seen
        assert torch.allclose(mixed, share * inputs[own] + (1 - share) * inputs[other], atol=1e-6)
    assert len(shares) == 20


def test_the_moments_of_a_clip_are_those_of_its_stream() -> None:
    """To the bit, also where a feature is always -0."""
    x_BTD, mask_BT = clips()
    x_BTD[:, :, 1] = -0.0
    for x_TD, mask_T in zip(x_BTD, mask_BT, strict=True):
        layer = ClipStatistics(3)
        streamed = layer.advance(x_TD[None], mask_T[None], layer.start(1))[1]
        for one, other in zip(moments_of(x_TD, mask_T), streamed, strict=True):
            assert one.dtype == other.dtype
            assert torch.equal(one.view(torch.int64), other.view(torch.int64))


def test_moments_of_many_clips_are_those_of_each() -> None:
    clips = [(torch.randn(steps, 3), torch.rand(steps) < 0.7) for steps in (4, 9, 6)]
    kept = MomentsOfClips(len(clips), 3)
    for place in (2, 0, 1):
        kept.put(place, moments_of(*clips[place]))
    for _ in range(2):  # more than one layer reads them
        for one, other in zip(kept, starmap(moments_of, clips), strict=True):
            for values, expected in zip(one, other, strict=True):
                assert torch.equal(values, expected)
