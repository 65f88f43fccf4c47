from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.alignment.outcome import measured, packed
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError, UnavailableError
from components.contracts.records import Word
from components.features.guard import EncoderGuard
from components.features.languages import Unread
from components.features.registry import create
from components.features.warm import warm_clip
from components.runtime.children import guarded
from components.runtime.patience import Patience

LIGHT = {"face": "hog", "voice": "signal", "text": "hashing", "face_au": "given:3"}
# A child whose text encoder never returns once it is warm.
ENDLESS = """
from components.features.encoders.hashing import HashedWords
from components.runtime.children.guarded import child
real, calls = HashedWords.encode, []
def endless(self, clips):
    calls.append(clips)
    while len(calls) > 1:
        pass
    return real(self, clips)
HashedWords.encode = endless
child()
"""


@pytest.fixture(scope="module")
def row() -> bytes:
    """The warm-up clip, as alignment hands it on."""
    aligned: bytes = packed(measured(warm_clip()))["row"]
    return aligned


@pytest.fixture(scope="module")
def guard() -> Iterator[EncoderGuard]:
    guard = EncoderGuard(LIGHT, {}, MediaLimits())
    yield guard
    guard.close()


def test_features_come_out_as_without_a_guard(guard: EncoderGuard, row: bytes) -> None:
    clip = warm_clip()
    encodings = guard.encode(row, clip)
    assert set(encodings.features) == set(LIGHT)
    assert not encodings.scores
    for modality, spec in LIGHT.items():
        [expected] = create(spec, modality).encode([clip])
        encoded = encodings.features[modality]
        assert np.array_equal(encoded.values, expected.values)
        assert np.array_equal(encoded.valid, expected.valid)


def test_words_that_an_encoder_does_not_know_are_as_none_and_it_says_why() -> None:
    specs = {"text": "hashing?languages=en", "voice": "signal"}
    told = EncoderGuard(specs, {}, MediaLimits())
    texts = ("Dlaczego mi o tym nie powiedziałeś?", "Why did you not tell me about it?")
    clips = [replace(warm_clip(), words=(Word(text=text, start_s=0.1, end_s=0.9),)) for text in texts]
    polish, english = [told.encode(packed(measured(clip))["row"], clip) for clip in clips]
    told.close()
    assert polish.language == "pl"
    assert polish.unread == {"text": Unread(language="pl", encoder="hashing", known=("en",))}
    assert not polish.features["text"].valid.any()
    assert polish.features["voice"].valid.all()
    assert (english.language, english.unread) == ("en", {})
    assert english.features["text"].valid.any()


def test_an_encoder_of_a_modality_that_is_not_expected_is_loaded_by_the_clip_that_has_it(
    row: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_WEIGHTS", str(tmp_path))  # an empty folder, so that nothing can be loaded
    needed = EncoderGuard({"face": "fer"}, {}, MediaLimits())
    with pytest.raises(UnavailableError, match="not installed"):
        needed.wait()
    spared = EncoderGuard({"face": "fer", "voice": "signal"}, {}, MediaLimits(), expected={"voice"})
    try:
        spared.wait()
        with pytest.raises(UnavailableError, match="not installed"):
            spared.encode(row, warm_clip())
    finally:
        needed.close()
        spared.close()


def test_an_encoder_ends_by_the_clock_and_by_its_share_of_processor_time(
    guard: EncoderGuard, row: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "CHILD", ENDLESS)
    guard.close()
    guard.wait()
    with pytest.raises(MediaError, match=r"more than 0\.2 s") as late:
        guard.encode(row, warm_clip(), patience=Patience(0.2))
    assert late.value.code == "too-slow"
    with pytest.raises(MediaError) as slow:
        EncoderGuard({"text": "hashing"}, {}, MediaLimits(max_work_s=0.1)).encode(row, warm_clip())
    assert slow.value.code == "too-slow"
    spent = Patience(0.0)
    with pytest.raises(UnavailableError, match="there was no time for this clip") as busy:
        guard.encode(row, warm_clip(), patience=spent)
    assert busy.value.code == "busy"
    guard.close()
