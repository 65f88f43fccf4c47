"""A voice on any channel of any layout, or on several against each other, is kept; ordinary sound stays as it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from components.contracts.config import MediaLimits
from components.media.channels import KEPT_SHARE, MAX_CHANNELS, fair_mix, usual_weights
from components.media.chosen import ChosenScan, scan_chosen
from components.media.sound import Sound, SoundCollector
from components.media.tracks import BY_FLAGS
from tests.alignment.media import wav_of_channels

RATE_HZ = 16_000
SECONDS = 1.0
NAMED = ("stereo", "2.1", "quad", "5.1", "5.1(side)", "7.1")


def voice(seed: int = 0) -> NDArray[np.float32]:
    """Noise with syllables, (n,) float32."""
    at = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(seed).standard_normal(at.size)
    return (0.1 * noise * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at))).astype(np.float32)


def channels(count: int, **signals: NDArray[np.float32]) -> NDArray[np.float32]:
    """(count, n) with the faint noise of open inputs, and signals by the channel's number: `c4=voice()`."""
    noise = np.random.default_rng(9).standard_normal((count, voice().size))
    together = (0.0005 * noise).astype(np.float32)
    for name, signal in signals.items():
        together[int(name[1:]) - 1] += signal
    return together


def scanned(path: Path) -> tuple[Sound, ChosenScan]:
    chosen = scan_chosen(
        path, MediaLimits(), rate_hz=RATE_HZ, floor_dbfs=-60.0, where="t", picture=False, sound=True, choices=BY_FLAGS
    )
    assert chosen.scan.sound is not None
    return chosen.scan.sound, chosen


def pushed(samples: NDArray[np.float32], layout: str, sample_format: str = "fltp") -> SoundCollector:
    """The collector after frames of (N, n) samples of a layout."""
    collector = SoundCollector(rate_hz=RATE_HZ, limits=MediaLimits(), where="t")
    for first in range(0, samples.shape[1], 1024):
        part = np.ascontiguousarray(samples[:, first : first + 1024])
        packed = part if sample_format.endswith("p") else np.ascontiguousarray(part.T.reshape(1, -1))
        packed = packed if sample_format.startswith("flt") else (packed * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(packed, format=sample_format, layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), first
        collector.push(frame)
    return collector


def correlation(sound: Sound, signal: NDArray[np.float32]) -> float:
    (run,) = sound.runs
    assert run.pcm.size == signal.size
    return float(np.corrcoef(run.pcm, signal)[0, 1])


@pytest.mark.parametrize(
    ("count", "number"),
    [
        (count, number)
        for count in (2, 3, 4, 6, 8, 9, 10, 16, 64)
        for number in sorted({1, 3, 4, 6, count})
        if number <= count
    ],
)
def test_a_voice_on_one_channel_without_a_layout_is_heard(tmp_path: Path, count: int, number: int) -> None:
    path = wav_of_channels(tmp_path / "a.wav", channels(count, **{f"c{number}": voice()}))
    sound, chosen = scanned(path)
    (run,) = sound.runs
    assert correlation(sound, voice()) > 0.99
    assert run.pcm.std() > 0.25 * 32768 * voice().std()
    if sound.mixes:
        assert f"channel {number} alone is used" in chosen.notes[-1]


@pytest.mark.parametrize("share", [1.0, -0.8, -1.2])
def test_an_inverted_channel_does_not_cancel_the_other(tmp_path: Path, share: float) -> None:
    inverted = -abs(share)
    path = wav_of_channels(tmp_path / "a.wav", channels(2, c1=voice(), c2=inverted * voice()))
    sound, chosen = scanned(path)
    assert correlation(sound, voice()) > 0.99
    assert chosen.notes == (
        f"the usual mix of the 2 channels keeps {sound.mixes[0].kept:.0%} of the sound; "
        "mixed as 0.50 × channel 1 − 0.50 × channel 2",
    )


def test_people_on_channels_of_their_own_are_all_heard(tmp_path: Path) -> None:
    path = wav_of_channels(tmp_path / "a.wav", channels(12, c4=voice(1), c9=0.4 * voice(2), c10=voice(3)))
    sound, _ = scanned(path)
    weights = np.abs(sound.mixes[0].weights)
    assert np.nonzero(weights)[0].tolist() == [3, 8, 9]
    assert weights.sum() == pytest.approx(1.0)
    together = [float(np.corrcoef(sound.runs[0].pcm, voice(seed))[0, 1]) for seed in (1, 2, 3)]
    assert min(np.abs(together)) > 0.2


@pytest.mark.parametrize("layout", NAMED)
def test_ordinary_sound_is_left_to_the_usual_mix(layout: str) -> None:
    count = av.AudioLayout(layout).nb_channels
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    wide = np.random.default_rng(3).standard_normal((count, voice().size)).astype(np.float32) * 0.05
    ordinary = [np.tile(voice(), (count, 1)), wide]
    ordinary += [
        channels(count, **{f"c{number}": voice()}) for number, name in enumerate(names, start=1) if name != "LFE"
    ]
    for samples in ordinary:
        assert not pushed(samples, layout, "flt").lossy()
    if "LFE" in names:
        number = names.index("LFE")
        (mix,) = pushed(channels(count, **{f"c{number + 1}": voice()}), layout, "flt").lossy().values()
        assert np.nonzero(mix.weights)[0].tolist() == [number]


def test_silence_and_a_constant_offset_are_not_a_sound_that_was_lost() -> None:
    assert not pushed(np.zeros((2, 4096), np.float32), "stereo").lossy()
    offset = channels(2, c1=voice() + 0.5, c2=0.5 - voice())
    assert pushed(offset, "stereo").lossy(), "an offset does not hide what cancels"


@pytest.mark.parametrize(
    ("count", "sample_format"), [(7, "fltp"), (7, "s16p"), (7, "flt"), (8, "s16"), (9, "flt"), (20, "s16"), (20, "flt")]
)
def test_every_sample_format_is_measured(count: int, sample_format: str) -> None:
    samples = channels(count, **{f"c{count}": voice()})
    (mix,) = pushed(samples, f"{count} channels", sample_format).lossy().values()
    assert np.nonzero(mix.weights)[0].tolist() == [count - 1]


def test_eight_planes_of_a_decoder_are_heard(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="7.1")
        at = np.arange(48_000) / 48_000
        tone = (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)
        packer = av.AudioResampler(format="fltp", layout="7.1", rate=48_000)
        packed = np.zeros((at.size, 8), np.float32)
        packed[:, 2] = tone
        frame = av.AudioFrame.from_ndarray(packed.reshape(1, -1), format="flt", layout="7.1")
        frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), 0
        for part in packer.resample(frame):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    sound, chosen = scanned(path)
    assert sound.damaged_packets == 0
    assert sound.end_s == pytest.approx(1.0, abs=0.05)
    assert chosen.notes == ()


def test_more_channels_than_the_resampler_takes_are_a_hole() -> None:
    samples = np.zeros((MAX_CHANNELS + 1, 1024), np.float32)
    collector = pushed(samples, f"{MAX_CHANNELS + 1} channels", "flt")
    assert collector.damaged == 1


def test_what_the_usual_mix_keeps_is_measured() -> None:
    assert usual_weights("stereo", 2).tolist() == pytest.approx([0.5, 0.5], abs=1e-3)
    assert usual_weights("5.1", 6)[[2, 3]].tolist() == pytest.approx([0.293, 0.0], abs=1e-3)
    assert not usual_weights("64 channels", 64).any()

    def kept(layout: str, products: NDArray[np.float64]) -> float:
        mix = fair_mix(products, layout)
        assert mix is not None
        return mix.kept

    assert kept("stereo", np.diag([1.0, 0.0])) == pytest.approx(1.0, rel=0.01)
    assert kept("stereo", np.eye(2)) == pytest.approx(1.0, rel=0.01)
    assert kept("7.1", np.diag([0, 0, 0, 0, 1.0, 0, 0, 0])) == pytest.approx(0.25, rel=0.02)
    for correlation_of_two, is_lost in ((-0.75, False), (-0.9, True)):
        products = np.array([[1.0, correlation_of_two], [correlation_of_two, 1.0]])
        assert (kept("stereo", products) < KEPT_SHARE) is is_lost
    for ratio, is_lost in ((0.45, False), (0.6, True)):
        products = np.array([[1.0, -ratio], [-ratio, ratio**2]])
        assert (kept("stereo", products) < KEPT_SHARE) is is_lost
    assert fair_mix(np.zeros((2, 2)), "stereo") is None
