from __future__ import annotations

import numpy as np
import pytest

from components.alignment.faces.envelope import CHUNK_S, RANGE_DB, RATE_HZ, SECTIONS, _band_pass, _by_scipy, envelope
from tests.alignment.media import tone

SOUND_HZ = 16_000


def samples(signal: np.ndarray) -> np.ndarray:
    return (signal * 32767).astype(np.int16)


def test_it_rises_where_the_sound_begins_and_has_its_level() -> None:
    signal = np.zeros(2 * SOUND_HZ, dtype=np.float32)
    signal[SOUND_HZ:] = tone(1.0, SOUND_HZ, hz=1000.0, level=0.5)
    found = envelope(samples(signal), SOUND_HZ)
    assert found is not None
    assert found.level_db.size == 2 * RATE_HZ
    assert int(np.argmax(np.diff(found.level_db))) + 1 == RATE_HZ
    assert found.level_db[-10:] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.3)
    assert found.level_db.min() == pytest.approx(found.level_db.max() - RANGE_DB, abs=0.5)


@pytest.mark.parametrize("hz", [50.0, 7500.0])
def test_hum_and_hiss_do_not_count(hz: float) -> None:
    inside, outside = (envelope(samples(tone(1.0, SOUND_HZ, hz=one)), SOUND_HZ) for one in (1000.0, hz))
    assert inside is not None
    assert outside is not None
    assert outside.level_db[-1] < inside.level_db[-1] - 10


def test_parts_of_a_long_sound_meet_without_a_step() -> None:
    found = envelope(samples(tone(CHUNK_S + 2.0, SOUND_HZ, hz=500.0)), SOUND_HZ)
    assert found is not None
    assert np.ptp(found.level_db[RATE_HZ:]) < 0.1


def test_silence_and_nothing_have_none() -> None:
    assert envelope(np.zeros(SOUND_HZ, dtype=np.int16), SOUND_HZ) is None
    assert envelope(np.zeros(10, dtype=np.int16), SOUND_HZ) is None


@pytest.mark.parametrize("rate_hz", list(SECTIONS))
def test_the_filter_is_that_of_scipy_to_the_bit(rate_hz: int) -> None:
    rng = np.random.default_rng(3)
    ours, theirs = _band_pass(rate_hz), _by_scipy(rate_hz)
    for length in (rate_hz, 37, rate_hz // 2):  # parts in turn, of which each goes on from the one before
        part = rng.normal(size=length)
        given = part.copy()
        np.testing.assert_array_equal(ours(part), theirs(part))
        np.testing.assert_array_equal(part, given)
