"""Bodies of `POST /v1/predict:features`, sound and not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from components.contracts.errors import DataError, MerError
from components.features.base import Encoded
from components.serving.http import feature_body
from components.serving.http.feature_body import JSON, SAFETENSORS, read_features

WIDTHS = {"face": 3, "voice": 2}
ROWS = {"face": np.array([[1, 2, 3], [np.nan] * 3], np.float32), "voice": np.zeros((2, 2), np.float32)}


def read(body: bytes, kind: str = SAFETENSORS) -> dict[str, Encoded]:
    return read_features(body, kind, widths=WIDTHS, rate_hz=10.0, max_duration_s=1.0)


def test_a_step_of_nan_is_one_that_is_not_there() -> None:
    text = json.dumps({"face": [[1, 2, 3], None], "voice": [[0, 0], [0, 0]]}).encode()
    for features in (read(save(ROWS)), read(text, f"{JSON}; charset=utf-8")):
        assert features["face"].valid.tolist() == [True, False]
        assert features["face"].values.tolist() == [[1, 2, 3], [0, 0, 0]]
        assert features["voice"].valid.all()
    assert set(read(save({"voice": ROWS["voice"]}))) == {"voice"}


def array(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("body", "kind", "code", "says"),
    [
        (b"", SAFETENSORS, "bad-request", "not safetensors"),
        (b"\xff" * 8, SAFETENSORS, "bad-request", "header of the tensors is too long"),
        (b"\x10" + b"\x00" * 7 + b"not JSON at all!", SAFETENSORS, "bad-request", "not safetensors"),
        (save({}), SAFETENSORS, "bad-request", "there are no features"),
        (save({"fase": array(2, 3)}), SAFETENSORS, "bad-request", "Did you mean 'face'"),
        (save({"face": array(2, 4)}), SAFETENSORS, "bad-request", "different shape"),
        (save({"face": array(0, 3)}), SAFETENSORS, "bad-request", "different shape"),
        (save({"face": array(2)}), SAFETENSORS, "bad-request", "different shape"),
        (save({"face": np.zeros((2, 3))}), SAFETENSORS, "bad-request", "float64"),
        (save({"face": np.array([[1, np.nan, 2]], np.float32)}), SAFETENSORS, "bad-request", "face, step 0"),
        (save({"face": np.array([[1, np.inf, 2]], np.float32)}), SAFETENSORS, "bad-request", "not finite"),
        (save({"face": array(2, 3), "voice": array(3, 2)}), SAFETENSORS, "bad-request", "number of steps"),
        (save({"face": array(11, 3)}), SAFETENSORS, "too-long", "at most 10, 1 s"),
        (b"{", JSON, "bad-request", "not JSON"),
        (b"[" * 100_000, JSON, "bad-request", "not JSON"),
        (b"[]", JSON, "bad-request", "not features by modality"),
        (b'{"face": 3}', JSON, "bad-request", "not features by modality"),
        (b'{"face": [[1, 2, 3], [1]]}', JSON, "bad-request", "not all equally long"),
        (b'{"face": [["a", 2, 3]]}', JSON, "bad-request", "not numbers"),
        (b'{"face": [[1, 2, ' + b"9" * 400 + b"]]}", JSON, "bad-request", "not"),
        (b'{"face": [[1, 2, {}]]}', JSON, "bad-request", "not numbers"),
        (save(ROWS), "application/octet-stream", "unsupported-media", SAFETENSORS),
        (save(ROWS), "", "unsupported-media", SAFETENSORS),
    ],
)
def test_what_is_not_features_is_refused(body: bytes, kind: str, code: str, says: str) -> None:
    with pytest.raises(DataError) as refused:
        read(body, kind)
    assert refused.value.code == code
    assert says in str(refused.value)


def test_a_body_over_its_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, _ = feature_body.READERS[JSON]
    monkeypatch.setattr(feature_body, "READERS", {JSON: (reader, 10)})
    with pytest.raises(MerError, match="at most 10 bytes"):
        read(b"x" * 11, JSON)
