from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from components.contracts.errors import BundleError
from components.inference import outliers
from components.inference.outliers import Gaussian, Pooled, PooledRows, Reference, conformal_quantile, pool
from components.runtime import spilled


def rows(count: int, width: int = 6, seed: int = 0, shift: float = 0.0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"face": rng.normal(size=width) * 2 + 1 + shift} for _ in range(count)]


def fit(train: list[Pooled], calibration: list[Pooled], *, people: Sequence[str] = (), **values: float) -> Reference:
    return Reference.fit(PooledRows.of(train, people), PooledRows.of(calibration), **values)


def clip(value: np.ndarray, steps: int = 4) -> tuple[dict, dict]:
    return {"face": np.tile(value, (steps, 1)).astype(np.float32)}, {"face": np.ones(steps, dtype=bool)}


def test_the_distance_is_mahalanobis() -> None:
    data = np.random.default_rng(0).normal(size=(5000, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 3]])
    gaussian = Gaussian.fit(data)
    point = np.array([1.0, -2.0, 3.0])
    inverse = np.linalg.inv(np.cov(data.T))
    expected = np.sqrt((point - data.mean(0)) @ inverse @ (point - data.mean(0)) / 3)
    assert gaussian.distance(point) == pytest.approx(expected, rel=0.02)


def test_few_clips_outside_among_the_like_and_all_among_the_unlike() -> None:
    reference = fit(rows(300), rows(200, seed=1), quantile=0.95)
    like = [reference.judge(*clip(row["face"]))["face"].outside for row in rows(300, seed=2)]
    unlike = [reference.judge(*clip(row["face"]))["face"].outside for row in rows(50, seed=3, shift=15.0)]
    assert np.mean(like) < 0.1
    assert all(unlike)


def test_fewer_clips_than_features_still_give_a_finite_answer() -> None:
    reference = fit(rows(8, width=50), rows(3, width=50, seed=1))
    judged = reference.judge(*clip(rows(1, width=50, seed=2)[0]["face"]))["face"]
    assert np.isfinite(judged.distance)
    assert np.isfinite(judged.threshold)


def test_a_feature_that_never_varies_is_survived() -> None:
    train = [{"face": np.append(row["face"], 0.0)} for row in rows(50)]
    reference = fit(train, train)
    odd = reference.judge(*clip(np.append(rows(1)[0]["face"], 5.0)))["face"]
    assert np.isfinite(odd.distance)
    assert odd.outside


def test_people_who_differ_widen_the_threshold() -> None:
    """With three calibration people the next one is easily 'outside'; holding training people out in turn helps."""
    rng = np.random.default_rng(0)
    shifts = rng.normal(size=(40, 6)) * 3
    train = [{"face": shifts[p] + rng.normal(size=6)} for p in range(20) for _ in range(6)]
    people = [f"p{p:02d}" for p in range(20) for _ in range(6)]
    calibration = [{"face": shifts[p] + rng.normal(size=6)} for p in range(20, 23) for _ in range(6)]
    new = [shifts[p] + rng.normal(size=6) for p in range(23, 40) for _ in range(6)]
    shares = []
    for owners in ([], people):
        reference = fit(train, calibration, people=owners, quantile=0.99)
        shares.append(np.mean([reference.judge(*clip(row))["face"].outside for row in new]))
    assert shares[1] < shares[0]
    assert shares[1] < 0.05


def test_modalities_without_enough_clips_or_absent_are_not_judged() -> None:
    reference = fit(rows(4), rows(4))
    assert not reference.modalities
    assert reference.judge(*clip(np.zeros(6))) == {}
    known = fit(rows(20), [])
    features, _ = clip(np.zeros(6))
    assert known.judge(features, {"face": np.zeros(4, dtype=bool)}) == {}


def test_pooling_reads_valid_steps_only() -> None:
    features = {"face": np.array([[1.0, 2.0], [100.0, 100.0], [3.0, 4.0]], dtype=np.float32)}
    assert pool(features, {"face": np.array([True, False, True])})["face"].tolist() == [2.0, 3.0]


def test_the_conformal_quantile_is_an_order_statistic() -> None:
    values = np.arange(1.0, 100.0)  # 99 values
    assert conformal_quantile(values, 0.9) == 90
    assert conformal_quantile(np.array([3.0, 1.0]), 0.99) == 3


def test_it_survives_its_files_and_refuses_damaged_ones(tmp_path: Path) -> None:
    reference = fit(rows(30), rows(10, seed=1))
    reference.save(tmp_path)
    loaded = Reference.load(tmp_path)
    features, masks = clip(rows(1, seed=5)[0]["face"])
    assert loaded.judge(features, masks) == reference.judge(features, masks)
    (tmp_path / "reference.json").write_text('{"format": 2}')
    with pytest.raises(BundleError, match="unknown outlier reference"):
        Reference.load(tmp_path)
    (tmp_path / "reference.safetensors").unlink()
    with pytest.raises(BundleError, match="cannot read"):
        Reference.load(tmp_path)


def test_many_rows_are_read_from_disk_and_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    train, people = rows(120, width=20), [f"p{place % 10}" for place in range(120)]
    whole = fit(train, rows(40, width=20, seed=1), people=people).modalities["face"]
    monkeypatch.setattr(spilled, "MEMORY_BYTES", 1)
    from_disk = fit(train, rows(40, width=20, seed=1), people=people).modalities["face"]
    assert (from_disk.mean.tobytes(), from_disk.whiten.tobytes()) == (whole.mean.tobytes(), whole.whiten.tobytes())
    assert from_disk.threshold == whole.threshold
    monkeypatch.setattr(outliers, "WHOLE_BYTES", 2000)
    in_parts = fit(train, rows(40, width=20, seed=1), people=people).modalities["face"]
    assert in_parts.threshold == pytest.approx(whole.threshold)
    np.testing.assert_allclose(in_parts.whiten.T @ in_parts.whiten, whole.whiten.T @ whole.whiten, atol=1e-10)


@pytest.mark.parametrize(("count", "width"), [(300, 40), (30, 50), (50, 1)])
def test_sums_in_parts_are_the_covariance_of_ledoit_and_wolf(
    monkeypatch: pytest.MonkeyPatch, count: int, width: int
) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(count, width)) * rng.random(width) * 3 + 5
    expected = ledoit_wolf(values)[0]
    monkeypatch.setattr(outliers, "WHOLE_BYTES", 400)
    mean, covariance = outliers._shrunk(values, None)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
