from __future__ import annotations

import gc
import weakref
from pathlib import Path

import psutil
import pytest

from components.alignment.guard import Guard
from components.contracts.config import MediaLimits
from components.contracts.errors import BundleError
from components.features.base import Encoded, served_fingerprints
from components.features.registry import create
from components.features.warm import warm_clip
from components.registry.bundle import EncoderSpec
from components.serving.pool import ChildPool, matching_encoder
from tests.serving.bundles import ALIGNMENT

LIGHT = {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}


def described(modality: str) -> EncoderSpec:
    encoder = create(LIGHT[modality], modality, "cpu")
    return EncoderSpec(spec=LIGHT[modality], fingerprint=encoder.fingerprint, width=encoder.width)


def test_versions_share_their_encoders_and_those_of_none_end() -> None:
    pool, voice, limits = ChildPool(), {"voice": described("voice")}, MediaLimits()
    first = pool.encoders(voice, {}, limits)
    pid = first.pid
    assert pid is not None
    assert pool.encoders(voice, {}, limits) is first
    assert pool.encoders({"text": described("text")}, {}, limits) is not first
    del first
    gc.collect()
    assert not psutil.pid_exists(pid)


def test_versions_share_a_guard_and_its_child_ends_with_the_last_of_them() -> None:
    pool = ChildPool()
    first = pool.guard(ALIGNMENT, Path())
    pid = first.pid
    assert pid is not None
    assert pool.guard(ALIGNMENT, Path()) is first
    del first
    gc.collect()
    assert not psutil.pid_exists(pid)


def test_every_modality_can_be_warmed() -> None:
    for modality, spec in LIGHT.items():
        [encoded] = create(spec, modality).encode([warm_clip()])
        assert encoded.valid.any()


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
        ChildPool().encoders({"text": EncoderSpec(**fields)}, {}, MediaLimits())  # type: ignore[arg-type]
    assert caught.value.code == "encoder-mismatch"
    assert str(installed.width) in str(caught.value)


def test_what_the_version_before_was_tried_with_is_not_read_again_by_the_same_children() -> None:
    pool, reads = ChildPool(), []

    def read() -> dict[str, Encoded]:
        reads.append(1)
        return {}

    first, second = Guard(ALIGNMENT, Path()), Guard(ALIGNMENT, Path())
    for child, clip in ((first, b"clip"), (first, b"clip"), (second, b"clip"), (second, b"other"), (first, b"other")):
        pool.read_once([child], (clip,), read)
    assert len(reads) == 4
    gone = weakref.ref(first)
    del first, child
    gc.collect()
    assert gone() is None
