from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from components.contracts.errors import MediaError, UnavailableError
from components.contracts.records import AlignedClip
from components.features.base import Encoded
from components.features.encode import encode_clips
from tests.builders import make_aligned_clip


class Probe:
    """An encoder of width 2 that does to each clip what it is told, and notes how it was called."""

    modality = "voice"
    name = "probe"
    width = 2
    fingerprint = "f"

    def __init__(self, act: Callable[[AlignedClip], Encoded]) -> None:
        self.act = act
        self.calls: list[int] = []

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        self.calls.append(len(clips))
        return [self.act(clip) for clip in clips]


def good(clip: AlignedClip) -> Encoded:
    return Encoded(np.ones((clip.grid.num_steps, 2), np.float32), np.ones(clip.grid.num_steps, bool))


def clips(*names: str) -> list[tuple[AlignedClip, dict[str, str]]]:
    return [(make_aligned_clip(name, steps=5), {"voice": f"key-{name}"}) for name in names]


def test_a_batch_is_encoded_in_one_call() -> None:
    probe = Probe(good)
    results = encode_clips(clips("a", "b", "c"), {"voice": probe})
    assert probe.calls == [3]
    assert [(result.clip_id, result.key, result.code) for result in results] == [
        ("tiny/a", "key-a", None),
        ("tiny/b", "key-b", None),
        ("tiny/c", "key-c", None),
    ]


def test_only_wanted_modalities_are_encoded() -> None:
    voice = Probe(good)
    wanted = [(make_aligned_clip("a"), {"face": "key"}), *clips("b")]
    assert [result.clip_id for result in encode_clips(wanted, {"voice": voice})] == ["tiny/b"]
    assert encode_clips([(make_aligned_clip("a"), {})], {"voice": voice}) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(MediaError("torn"), "encoder"), (RuntimeError("torn"), "internal"), (ValueError("torn"), "internal")],
)
def test_one_bad_clip_costs_only_itself(error: Exception, code: str) -> None:
    def act(clip: AlignedClip) -> Encoded:
        if clip.clip_id == "tiny/b":
            raise error
        return good(clip)

    probe = Probe(act)
    results = {result.clip_id: result for result in encode_clips(clips("a", "b", "c"), {"voice": probe})}
    assert probe.calls == [3, 1, 1, 1]
    assert results["tiny/b"].code == code
    assert "torn" in results["tiny/b"].message
    assert results["tiny/b"].encoded is None
    assert results["tiny/a"].encoded is not None
    assert results["tiny/c"].encoded is not None


def test_an_encoder_that_cannot_work_stops_the_run() -> None:
    def act(clip: AlignedClip) -> Encoded:
        raise UnavailableError("weight file is not installed")

    with pytest.raises(UnavailableError):
        encode_clips(clips("a"), {"voice": Probe(act)})


def test_values_that_are_not_finite_are_named() -> None:
    def act(clip: AlignedClip) -> Encoded:
        values = np.ones((5, 2), np.float32)
        values[3, 1] = np.inf
        return Encoded(values, np.ones(5, bool))

    (result,) = encode_clips(clips("a"), {"voice": Probe(act)})
    assert result.code == "not-finite"
    assert "voice features of 1 of 5 steps are not finite, the first at 0.3 s" in result.message


def test_a_wrong_shape_is_named() -> None:
    (result,) = encode_clips(
        clips("a"), {"voice": Probe(lambda clip: Encoded(np.ones((4, 2), np.float32), np.ones(4, bool)))}
    )
    assert result.code == "encoder"
    assert "(4, 2), not (5, 2)" in result.message
