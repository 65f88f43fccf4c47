from __future__ import annotations

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.inference.contradiction import Rarity, conflict, find_spans, moments

SURE, OTHER, FLAT = np.array([0.97, 0.01, 0.02]), np.array([0.01, 0.98, 0.01]), np.full(3, 1 / 3)
CLASSES = ("neutral", "anger", "fear")
RATE_HZ = 10.0


def over(*rows: tuple[np.ndarray, int]) -> np.ndarray:
    return np.concatenate([np.tile(row, (count, 1)) for row, count in rows])


def found(face: np.ndarray, voice: np.ndarray, *, voice_valid: np.ndarray | None = None, window_s: float = 0.5):
    masks = {"face": np.ones(len(face), bool), "voice": np.ones(len(voice), bool)}
    if voice_valid is not None:
        masks["voice"] = voice_valid
    return moments({"face": face, "voice": voice}, masks, rate_hz=RATE_HZ, window_s=window_s)


def test_conflict_needs_two_sure_sides() -> None:
    assert conflict(SURE, SURE) == 0
    assert conflict(SURE, OTHER) > 0.95
    assert conflict(SURE, FLAT) == 0
    assert conflict(np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])) == 0
    assert conflict(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.5, 0.5])) == 1
    assert conflict(SURE, OTHER) == conflict(OTHER, SURE)
    np.testing.assert_array_equal(conflict(np.stack([SURE, FLAT]), np.stack([SURE, OTHER])), [0, 0])


def test_rarity_never_falls_and_is_the_share_of_ordinary_clips_below() -> None:
    rng = np.random.default_rng(0)
    ordinary = rng.random(39)
    rarity = Rarity.fit(ordinary)
    grid = np.linspace(0, 1, 500)
    values = rarity.of(grid)
    assert (np.diff(values) >= 0).all()
    below = np.array([(ordinary < value).sum() / 40 for value in grid])
    assert (values <= below + 1e-6).all()
    assert (values >= below - 1 / 40 - 1e-6).all()
    assert rarity.of(1.0) == pytest.approx(39 / 40)


def test_at_most_the_promised_share_of_new_ordinary_clips_is_rare() -> None:
    rng = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        # Many ordinary clips have no conflict at all: ties must not break the promise.
        values = np.maximum(0, rng.normal(size=60))
        alarms.append((Rarity.fit(values[:40] / 10).of(values[40:] / 10) >= 0.9).mean())
    assert 0.04 < np.mean(alarms) <= 0.105


def test_nothing_is_rare_without_anything_ordinary_and_unknown_stays_unknown() -> None:
    np.testing.assert_array_equal(Rarity().of(np.array([0.0, 1.0, np.nan])), [0, 0, np.nan])
    assert np.isnan(Rarity.fit([0.2, 0.4]).of(np.nan))


def test_many_knots_are_thinned_and_survive_json() -> None:
    rarity = Rarity.fit(np.random.default_rng(0).random(5000))
    assert len(rarity.conflict) <= 257
    np.testing.assert_allclose(rarity.of(np.array([0.25, 0.9])), [0.25, 0.9], atol=0.02)
    assert Rarity.from_json(rarity.to_json()) == rarity


@pytest.mark.parametrize("knots", [((0.2, 0.1), (0.0, 0.5)), ((0.1, 0.2), (0.5, 0.1)), ((0.1,), (0.1, 0.2))])
def test_knots_that_do_not_rise_are_refused(knots: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    with pytest.raises(BundleError, match="the knots must rise"):
        Rarity(conflict=knots[0], rarity=knots[1])


def test_a_contradiction_is_found_where_it_is_and_named() -> None:
    face, voice = over((SURE, 20), (OTHER, 15), (SURE, 15)), over((SURE, 50))
    result = found(face, voice)
    assert result is not None
    assert result.conflict[:17].max() < 0.5
    assert result.conflict[23:32].min() > 0.95
    assert 20 <= result.worst_step < 35
    [span] = find_spans(result, result.conflict, threshold=0.9, classes=CLASSES, rate_hz=RATE_HZ)
    assert span.pair == ("face", "voice")
    assert 1.8 <= span.onset_s <= 2.3
    assert 3.2 <= span.offset_s <= 3.7
    assert {name: emotion for name, (emotion, _) in span.says.items()} == {"face": "anger", "voice": "neutral"}


def test_one_noisy_step_does_not_shout() -> None:
    face, voice = over((SURE, 20), (OTHER, 1), (SURE, 20)), over((SURE, 41))
    calm, raw = found(face, voice, window_s=1.0), found(face, voice, window_s=0.1)
    assert calm is not None
    assert raw is not None
    assert raw.peak > 0.9
    assert calm.peak == 0


def test_a_modality_without_enough_valid_steps_around_has_no_opinion() -> None:
    valid = np.zeros(40, bool)
    valid[30:] = True
    result = found(over((SURE, 40)), over((OTHER, 40)), voice_valid=valid, window_s=0.8)
    assert result is not None
    assert np.isnan(result.conflict[:27]).all()
    assert result.conflict[30:].min() > 0.95
    assert set(result.pair[:27]) == {-1}
    assert set(result.emotions(slice(0, 5), CLASSES)) == {"face"}


def test_the_worst_of_several_pairs_is_told() -> None:
    steps = {"face": over((SURE, 12)), "text": over((FLAT, 12)), "voice": over((OTHER, 12))}
    result = moments(steps, {name: np.ones(12, bool) for name in steps}, rate_hz=RATE_HZ)
    assert result is not None
    assert {result.pairs[index] for index in result.pair} == {("face", "voice")}


def test_one_modality_or_two_that_never_meet_tell_nothing() -> None:
    first = np.zeros(60, bool)
    first[:10] = True
    assert found(over((SURE, 60)), over((OTHER, 60)), voice_valid=np.zeros(60, bool)) is None
    apart = moments(
        {"face": over((SURE, 60)), "voice": over((OTHER, 60))},
        {"face": first, "voice": first[::-1]},
        rate_hz=RATE_HZ,
    )
    assert apart is None
    assert moments({}, {"face": first}, rate_hz=RATE_HZ) is None


def test_a_window_longer_than_the_clip() -> None:
    result = found(over((SURE, 4)), over((OTHER, 4)), window_s=5.0)
    assert result is not None
    assert result.conflict.shape == (4,)
    assert result.conflict.min() > 0.95
