"""Stamps that jitter, against the sample count: what is a gap, what is a drift, and what is neither."""

from __future__ import annotations

import numpy as np
import pytest

from components.media.clocks.jitter import pieces

START_S = 3.0


def stamps(
    count: int,
    frame_s: float,
    jitter_s: float,
    *,
    gaps: dict[int, float] | None = None,
    drift: float = 0.0,
    off: dict[tuple[int, int], float] | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(by sample count, by stamp, the truth) of frames; `gaps` by the frame that follows them."""
    counted = np.arange(count) * frame_s
    truth = START_S + (1 + drift) * counted
    for at, gap_s in (gaps or {}).items():
        truth[at:] += gap_s
    stamped = truth + np.random.default_rng(seed).uniform(-jitter_s, jitter_s, count)
    for (first, last), off_s in (off or {}).items():
        stamped[first:last] += off_s
    return counted, stamped, truth


def placed(counted: np.ndarray, stamped: np.ndarray) -> np.ndarray:
    laid = pieces(counted, stamped)
    assert laid is not None
    assert [piece.first for piece in laid] == [0, *(piece.last for piece in laid[:-1])]
    assert laid[-1].last == counted.size
    parts = [piece.start_s + piece.slope * (counted[piece.first : piece.last] - piece.from_s) for piece in laid]
    return np.concatenate(parts)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "frame_s"), [(134, 0.06), (400, 0.02), (3000, 0.02)])
@pytest.mark.parametrize("jitter_s", [0.02, 0.04, 0.06])
def test_gapless_sound_stays_in_one_piece(count: int, frame_s: float, jitter_s: float, seed: int) -> None:
    counted, stamped, truth = stamps(count, frame_s, jitter_s, seed=seed)
    laid = pieces(counted, stamped)
    assert laid is not None
    assert [(piece.first, piece.last, piece.slope) for piece in laid] == [(0, count, 1.0)]
    assert np.abs(placed(counted, stamped) - truth).max() < 0.01


@pytest.mark.parametrize("gaps", [{200: 0.1}, {200: 0.3, 300: 0.06}, {100: 2.0, 130: 0.5, 300: 60.0}, {60: 0.5}])
@pytest.mark.parametrize("jitter_s", [0.0, 0.01, 0.02])
def test_a_gap_that_lasts_is_a_gap(gaps: dict[int, float], jitter_s: float) -> None:
    counted, stamped, truth = stamps(400, 0.02, jitter_s, gaps=gaps)
    off_s = np.abs(placed(counted, stamped) - truth)
    assert np.quantile(off_s, 0.99) < 0.01


def test_a_lost_packet_shows_in_the_long_run_however_the_stamps_jitter() -> None:
    counted, stamped, truth = stamps(9000, 0.02, 0.06, gaps={3000: 0.06, 6000: 0.06})
    off_s = np.abs(placed(counted, stamped) - truth)
    assert np.quantile(off_s, 0.99) < 0.01


@pytest.mark.parametrize("drift", [-0.001, 0.001, 0.003])
def test_a_drift_is_followed(drift: float) -> None:
    counted, stamped, truth = stamps(3000, 0.02, 0.04, drift=drift)
    assert np.abs(placed(counted, stamped) - truth).max() < 0.01


def test_a_drift_and_gaps_are_told_apart() -> None:
    counted, stamped, truth = stamps(6000, 0.02, 0.02, drift=0.001, gaps={2000: 0.2, 4000: 1.0})
    assert np.quantile(np.abs(placed(counted, stamped) - truth), 0.99) < 0.01


@pytest.mark.parametrize(
    "off",
    [
        {(50, 51): 7200.0},
        {(50, 51): -5.0, (90, 91): 0.8},
        {(0, 1): 30.0},
        {(399, 400): 30.0},
        {(100, 110): 0.2},  # a burst of late packets
        {(100, 130): 0.3, (300, 320): 0.15},
    ],
)
def test_wild_stamps_and_bursts_move_nothing(off: dict[tuple[int, int], float]) -> None:
    counted, stamped, truth = stamps(400, 0.02, 0.02, off=off)
    assert np.abs(placed(counted, stamped) - truth).max() < 0.01


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_few_frames(count: int) -> None:
    counted, stamped, truth = stamps(count, 0.02, 0.02)
    assert np.abs(placed(counted, stamped) - truth).max() < 0.021


def test_stamps_that_tell_nothing() -> None:
    counted = np.arange(5000) / 1000
    assert pieces(counted, 0.25 * (np.arange(5000) % 2)) is None
    assert pieces(counted, np.zeros(5000)) is None
    assert pieces(counted, np.random.default_rng(0).uniform(0, 5, 5000)) is None
