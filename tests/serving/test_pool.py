from __future__ import annotations

import gc
import weakref
from pathlib import Path

import psutil
import pytest

from components.contracts.config import MODALITIES
from components.contracts.errors import BundleError
from components.features.base import served_fingerprints
from components.features.registry import create
from components.registry.bundle import EncoderSpec
from components.serving.pool import EncoderPool, matching_encoder
from tests.serving.bundles import ALIGNMENT

LIGHT = {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}


def described(modality: str) -> EncoderSpec:
    encoder = create(LIGHT[modality], modality, "cpu")
    return EncoderSpec(spec=LIGHT[modality], fingerprint=encoder.fingerprint, width=encoder.width)


def test_versions_share_an_encoder_and_an_unused_one_is_released() -> None:
    pool = EncoderPool()
    first = pool.load({"voice": described("voice")})
    assert pool.load({"voice": described("voice")})["voice"] is first["voice"]
    encoder = weakref.ref(first["voice"])
    del first
    gc.collect()
    assert encoder() is None


def test_versions_share_a_guard_and_its_child_ends_with_the_last_of_them() -> None:
    pool = EncoderPool()
    first = pool.guard(ALIGNMENT, Path(), wall_s=None)
    pid = first.pid
    assert pid is not None
    assert pool.guard(ALIGNMENT, Path(), wall_s=None) is first
    assert pool.guard(ALIGNMENT, Path(), wall_s=60.0) is not first
    del first
    gc.collect()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality_can_be_warmed(modality: str) -> None:
    assert set(EncoderPool().load({modality: described(modality)})) == {modality}


def test_a_version_of_an_encoder_that_differs_for_unusual_input_alone_is_served() -> None:
    encoder = create("minilm", "text")
    (earlier,) = served_fingerprints(encoder) - {encoder.fingerprint}
    expected = EncoderSpec(spec="minilm", fingerprint=earlier, width=encoder.width)
    assert matching_encoder("text", expected).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("changes", [{"fingerprint": "0" * 64}, {"width": 3}])
def test_a_different_encoder_is_refused_with_both_values(changes: dict[str, object]) -> None:
    installed = described("text")
    fields = {"spec": installed.spec, "fingerprint": installed.fingerprint, "width": installed.width, **changes}
    with pytest.raises(BundleError) as caught:
        EncoderPool().load({"text": EncoderSpec(**fields)})  # type: ignore[arg-type]
    assert caught.value.code == "encoder-mismatch"
    assert str(installed.width) in str(caught.value)
