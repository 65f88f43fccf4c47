"""The process that reads bodies of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import save

from components.contracts.config import MediaLimits
from components.contracts.errors import DataError, MediaError
from components.serving.http.feature_body import JSON, SAFETENSORS
from components.serving.http.feature_guard import FeatureGuard

WIDTHS = {"face": 3, "voice": 2}


def reader(folder: Path, **limits: float) -> FeatureGuard:
    return FeatureGuard(MediaLimits(**limits), folder)


def test_a_body_is_read_and_the_process_ends_with_a_large_one(tmp_path: Path) -> None:
    body = tmp_path / "sent"
    face = np.array([[1, 2, 3], [np.nan] * 3], np.float32)
    body.write_bytes(save({"face": face, "voice": np.zeros((2, 2), np.float32)}))
    guard = reader(tmp_path)
    features = guard.read(body, SAFETENSORS, widths=WIDTHS, rate_hz=10.0, max_duration_s=1.0)
    assert list(features) == ["face", "voice"]
    assert features["face"].values.tolist() == [[1, 2, 3], [0, 0, 0]]
    assert features["face"].valid.tolist() == [True, False]
    pid = guard.pid
    assert pid is not None
    guard.read(body, SAFETENSORS, widths=WIDTHS, rate_hz=10.0, max_duration_s=1.0)
    assert guard.pid == pid
    body.write_bytes(b"[" * 200_000)
    with pytest.raises(DataError, match="not JSON"):
        guard.read(body, JSON, widths=WIDTHS, rate_hz=10.0, max_duration_s=1.0)
    assert guard.pid is None


def test_a_body_that_takes_too_much_memory_takes_none_of_this_process(tmp_path: Path) -> None:
    body = tmp_path / "sent"
    body.write_bytes(b'{"face": [' + b"[1,2,3]," * 500_000 + b"[1,2,3]]}")  # 4 MB
    before = psutil.Process().memory_info().rss
    with pytest.raises(MediaError) as refused:
        reader(tmp_path, max_memory_mb=64).read(body, JSON, widths=WIDTHS, rate_hz=10.0, max_duration_s=1e9)
    assert refused.value.code == "memory"
    assert psutil.Process().memory_info().rss - before < 8 << 20


def test_it_reads_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(save({"face": np.zeros((2, 3), np.float32)}))
    with pytest.raises(RuntimeError, match="PermissionError"):
        reader(tmp_path / "uploads").read(secret, SAFETENSORS, widths=WIDTHS, rate_hz=10.0, max_duration_s=1.0)
