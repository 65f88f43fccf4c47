"""The statistics of some recordings among all: what few clips count for, and what they cannot break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.contracts.errors import BundleError
from components.features.base import Encoded
from components.features.recordings import PRIOR_CLIPS, Standardisation, gather
from components.features.transform import Transform

WIDTHS = {"voice": 3, "face": 2}


STEPS = 20


def clip(seed: int, *, shift: float = 0.0, scale: float = 1.0, name: str = "voice") -> dict[str, Encoded]:
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal((STEPS, WIDTHS[name])) * scale + shift).astype(np.float32)
    return {name: Encoded(values, rng.random(STEPS) > 0.2)}


# Two rooms: the second shifts and stretches everything, and has faces besides.
ROOMS = {
    "first": [clip(seed) for seed in range(60)],
    "second": [clip(seed, shift=4.0, scale=3.0) for seed in range(60, 120)] + [clip(7, name="face")],
}


def fitted(**rooms: list[dict[str, Encoded]]) -> Transform:
    datasets = rooms or ROOMS
    return Transform.fit([item for room in datasets.values() for item in room], WIDTHS, datasets=datasets)


def rows(transform: Transform, items: list[dict[str, Encoded]]) -> np.ndarray:
    voices = [item for item in items if "voice" in item]
    return np.concatenate([transform.apply(item, STEPS)[0]["voice"][item["voice"].valid] for item in voices])


def test_each_room_is_standardised_by_itself_and_an_unknown_one_by_all() -> None:
    transform = fitted()
    plain = Transform.fit([item for room in ROOMS.values() for item in room], WIDTHS)
    for name, room in ROOMS.items():
        own, unknown = rows(transform.of_dataset(name), room), rows(transform, room)
        # Not exactly 0 and 1: the prior counts as PRIOR_CLIPS clips beside 60.
        assert np.all(np.abs(own.mean(0)) < np.abs(unknown.mean(0)) / 4)
        assert np.all((own.std(0) > 0.5) & (own.std(0) < 1.5))
        np.testing.assert_array_equal(unknown, rows(plain, room))
        np.testing.assert_array_equal(rows(transform.of_dataset("a third"), room), rows(plain, room))
    # The first room has no faces: its statistics of them are those of all.
    assert transform.datasets["first"]["face"] is transform.modalities["face"]


def test_a_single_dataset_has_no_statistics_beside_those_of_all(tmp_path: Path) -> None:
    fitted(only=ROOMS["first"]).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    Transform.fit(ROOMS["first"], WIDTHS).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert not Transform.load(tmp_path).datasets


@pytest.mark.parametrize("clips", [1, PRIOR_CLIPS, 60])
def test_few_clips_move_the_statistics_by_their_share(clips: int) -> None:
    pooled = Standardisation(mean=np.zeros(3), std=np.full(3, 2.0), steps=1)
    own = gather(ROOMS["second"][:clips], WIDTHS)["voice"]
    among = own.among(pooled)
    share = clips / (clips + PRIOR_CLIPS)
    np.testing.assert_allclose(among.mean, share * own.mean)
    # As if the prior were that many clips of its own: the variance of the two sets together.
    together = (1 - share) * (4 + among.mean**2) + share * (own.variance + (own.mean - among.mean) ** 2)
    np.testing.assert_allclose(among.std**2, together)


def test_what_is_constant_in_training_stays_so_and_what_is_constant_here_stays_finite() -> None:
    pooled = Standardisation(mean=np.array([5.0, 0.0, 0.0]), std=np.array([1.0, 2.0, 3.0]), steps=1)
    still = Encoded(np.tile(np.array([9.0, 1.0, 1.0], np.float32), (20, 1)), np.ones(20, bool))
    among = gather([{"voice": still}] * 500, WIDTHS)["voice"].among(pooled)
    assert (among.mean[0], among.std[0]) == (5.0, 1.0)
    assert np.all(among.std[1:] > 0.1)


def test_saved_and_loaded_with_its_datasets(tmp_path: Path) -> None:
    transform = fitted()
    transform.save(tmp_path)
    loaded = Transform.load(tmp_path)
    for name, room in ROOMS.items():
        np.testing.assert_array_equal(rows(loaded.of_dataset(name), room), rows(transform.of_dataset(name), room))
    assert loaded.only(["face"]).datasets.keys() == ROOMS.keys()
    text = (tmp_path / "transform.json").read_text()
    (tmp_path / "transform.json").write_text(text.replace('"second"', '"fourth"'))
    with pytest.raises(BundleError, match="datasets/fourth/face"):
        Transform.load(tmp_path)
