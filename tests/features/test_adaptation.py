"""The file of some recordings' statistics: the same after reading, and refused when it is something else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.contracts.errors import BundleError
from components.features.adaptation import METADATA, Adaptation
from components.features.recordings import gather
from tests.features.test_recordings import ROOMS, WIDTHS


def adaptation() -> Adaptation:
    room, encoders = ROOMS["second"], {"voice": "a", "face": "b"}
    return Adaptation(name="room", clips=len(room), modalities=gather(room, WIDTHS), encoders=encoders)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "room.safetensors"
    adaptation().save(path)
    loaded = Adaptation.load(path)
    assert (loaded.name, loaded.clips, loaded.encoders) == (path.name, 61, {"face": "b", "voice": "a"})
    assert loaded.words == "room.safetensors (face of 1, voice of 60)"
    for name, own in adaptation().modalities.items():
        read = loaded.modalities[name]
        np.testing.assert_array_equal(read.mean, own.mean)
        np.testing.assert_array_equal(read.variance, own.variance)
        assert (read.clips, read.steps) == (own.clips, own.steps)


VOICE = {"encoder": "a", "clips": 1, "steps": 2}
DESCRIBED = json.dumps({"format": "mer.adaptation/1", "clips": 1, "modalities": {"voice": VOICE}})
ZERO = np.zeros(3)


@pytest.mark.parametrize(
    ("tensors", "described", "why"),
    [
        (None, None, "cannot read the adaptation"),
        ({"x": ZERO}, None, "cannot read the adaptation"),
        ({"voice.mean": ZERO}, DESCRIBED, "voice.variance"),
        ({"voice.mean": ZERO, "voice.variance": np.zeros(4)}, DESCRIBED, "not a mean and a variance"),
        ({"voice.mean": ZERO, "voice.variance": ZERO - 1}, DESCRIBED, "not a mean and a variance"),
        ({"voice.mean": ZERO + np.nan, "voice.variance": ZERO}, DESCRIBED, "not a mean and a variance"),
        ({"voice.mean": ZERO, "voice.variance": ZERO}, DESCRIBED.replace("/1", "/9"), "seen 'mer.adaptation/9'"),
        ({"voice.mean": ZERO, "voice.variance": ZERO}, "[]", "cannot read the adaptation"),
    ],
)
def test_what_is_no_adaptation_is_refused(tmp_path: Path, tensors: object, described: str | None, why: str) -> None:
    path = tmp_path / "other.safetensors"
    if isinstance(tensors, dict):
        save_file(tensors, path, metadata=None if described is None else {METADATA: described})
    else:
        path.write_bytes(b"not tensors")
    with pytest.raises(BundleError, match=why):
        Adaptation.load(path)
    with pytest.raises(BundleError, match=r"cannot read the adaptation.*mer adapt"):
        Adaptation.load(tmp_path / "missing.safetensors")
