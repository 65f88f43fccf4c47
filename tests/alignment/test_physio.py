from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.alignment.physio import physio_mask, read_physio, resampled
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.contracts.timebase import Grid


def write(path: Path, time_s: np.ndarray, **channels: np.ndarray) -> Path:
    pq.write_table(pa.table({"time_s": time_s, **channels}), path)
    return path


def read(path: Path) -> dict:
    return read_physio(path, MediaLimits(), where="tiny/a")


def test_a_channel_of_the_target_rate_stays_as_it_is(tmp_path: Path) -> None:
    time_s = np.arange(256) / 64
    ecg = np.sin(2 * np.pi * 1.3 * time_s)
    found = resampled(read(write(tmp_path / "p.parquet", time_s, ecg=ecg)), 4.0, 64.0)
    assert found["ecg"].dtype == np.float32
    assert found["ecg"] == pytest.approx(ecg, abs=1e-6)


@pytest.mark.parametrize("rate_hz", [4.0, 35.0, 128.0, 700.0])
def test_other_rates_are_resampled_on_the_clock(tmp_path: Path, rate_hz: float) -> None:
    time_s = np.arange(round(6 * rate_hz)) / rate_hz
    wave = 5.0 + np.sin(2 * np.pi * 0.5 * time_s)
    found = resampled(read(write(tmp_path / "p.parquet", time_s, resp=wave)), 6.0, 64.0)["resp"]
    grid_s = np.arange(384) / 64
    inside = (grid_s > 0.2) & (grid_s < 5.5)
    assert found[inside] == pytest.approx(5.0 + np.sin(2 * np.pi * 0.5 * grid_s[inside]), abs=0.1)


def test_what_is_too_fast_for_the_target_does_not_fold_into_it(tmp_path: Path) -> None:
    time_s = np.arange(7 * 700) / 700
    hum = np.sin(2 * np.pi * 130.0 * time_s)  # would look like 2 Hz at 64 Hz
    found = resampled(read(write(tmp_path / "p.parquet", time_s, ecg=hum)), 7.0, 64.0)["ecg"]
    assert np.abs(found[32:-32]).max() < 0.05


def test_gaps_and_ends_are_nan_and_masked(tmp_path: Path) -> None:
    time_s = np.arange(64, 320) / 64
    eda = np.linspace(0, 1, time_s.size)
    eda[(time_s >= 2.0) & (time_s < 3.0)] = np.nan
    found = resampled(read(write(tmp_path / "p.parquet", time_s, eda=eda)), 6.0, 64.0)
    at_s = np.arange(384) / 64
    missing = np.isnan(found["eda"])
    assert missing[at_s < 0.9].all()
    assert missing[(at_s > 2.05) & (at_s < 2.95)].all()
    assert missing[at_s > 5.1].all()
    assert not missing[(at_s > 1.05) & (at_s < 1.95)].any()
    mask = physio_mask(found, 64.0, Grid(rate_hz=10.0, num_steps=60))
    assert not mask[:9].any()
    assert mask[10:20].all()
    assert not mask[21:29].any()
    assert mask[31:49].all()
    assert not mask[52:].any()


def test_channels_of_different_rates_in_one_table(tmp_path: Path) -> None:
    time_s = np.arange(512) / 128
    eda = np.where(np.arange(512) % 32 == 0, 0.5 + time_s, np.nan)
    found = resampled(read(write(tmp_path / "p.parquet", time_s, bvp=np.cos(time_s), eda=eda)), 4.0, 64.0)
    assert list(found) == ["bvp", "eda"]
    grid_s = np.arange(256) / 64
    assert found["eda"][grid_s < 3.7] == pytest.approx(0.5 + grid_s[grid_s < 3.7], abs=1e-3)
    assert np.isfinite(found["bvp"]).all()


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    time_s = np.arange(128) / 64
    order = np.random.default_rng(0).permutation(128)
    sorted_ = resampled(read(write(tmp_path / "a.parquet", time_s, x=time_s**2)), 2.0, 64.0)["x"]
    mixed = resampled(read(write(tmp_path / "b.parquet", time_s[order], x=time_s[order] ** 2)), 2.0, 64.0)["x"]
    assert np.array_equal(sorted_, mixed)


def test_a_channel_without_values_is_left_out(tmp_path: Path) -> None:
    time_s = np.arange(64) / 64
    assert list(read(write(tmp_path / "p.parquet", time_s, a=time_s, b=np.full(64, np.nan)))) == ["a"]


def bad(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "p.parquet"
    time_s = np.arange(64) / 64
    if kind == "no time":
        pq.write_table(pa.table({"t": time_s, "ecg": time_s}), path)
    elif kind == "no channel":
        pq.write_table(pa.table({"time_s": time_s}), path)
    elif kind == "text":
        pq.write_table(pa.table({"time_s": time_s, "ecg": ["x"] * 64}), path)
    elif kind == "no parquet":
        path.write_text("time_s,ecg\n0,1\n")
    elif kind == "too many channels":
        write(path, time_s, **{f"c{k}": time_s for k in range(40)})
    return path


@pytest.mark.parametrize("kind", ["no time", "no channel", "text", "no parquet", "too many channels"])
def test_files_of_another_form_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(MediaError) as caught:
        read(bad(tmp_path, kind))
    assert caught.value.code == "physio-format"
    assert "time_s" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_missing_empty_and_long_files(tmp_path: Path) -> None:
    (tmp_path / "empty.parquet").touch()
    for name, code in (("none.parquet", "missing-file"), ("empty.parquet", "empty-file")):
        with pytest.raises(MediaError) as caught:
            read(tmp_path / name)
        assert caught.value.code == code
    long = write(tmp_path / "long.parquet", np.array([0.0, 5000.0]), x=np.array([1.0, 2.0]))
    with pytest.raises(MediaError) as caught:
        read(long)
    assert caught.value.code == "too-long"
