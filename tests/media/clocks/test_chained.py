"""Ogg and Matroska files put end to end: every link with its own streams, channels and rate, one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.clocks.chained import SEGMENT, _links, links_of
from components.media.reader import MediaReader
from components.media.scan import FileScan, scan
from components.media.sound import place
from components.media.span import Span
from tests.alignment.containers import patched
from tests.alignment.media import clicks, grey, tone, write_clip
from tests.alignment.passes import all_pictures, first_pass
from tests.media.test_sound import onsets_s

RATE_HZ = 16_000
CLICK_S = 0.5
LINKS = {
    "opus": [("libopus", 48_000, 1)] * 3,
    "opus, mono and stereo": [("libopus", 48_000, 1), ("libopus", 48_000, 2), ("libopus", 48_000, 1)],
    "flac, three rates": [("flac", 44_100, 1), ("flac", 16_000, 2), ("flac", 48_000, 1)],
    "opus and flac": [("libopus", 48_000, 1), ("flac", 22_050, 1)],
    "vorbis": [("vorbis", 44_100, 1), ("vorbis", 22_050, 2)],
}


def link(path: Path, codec: str, rate_hz: int, channels: int) -> bytes:
    signal = clicks(1.0, [CLICK_S], rate_hz)
    if codec == "vorbis":
        soundfile.write(path, np.tile(signal[:, None], (1, channels)), rate_hz, format="OGG", subtype="VORBIS")
    else:
        write_clip(path, sound=signal, sound_rate_hz=rate_hz, sound_channels=channels, audio_codec=codec)
    return path.read_bytes()


def chain(folder: Path, kinds: list[tuple[str, int, int]]) -> Path:
    path = folder / "chain.ogg"
    path.write_bytes(b"".join(link(folder / f"{k}.ogg", *kind) for k, kind in enumerate(kinds)))
    return path


@pytest.mark.parametrize("kinds", LINKS.values(), ids=LINKS.keys())
def test_links_follow_each_other_to_the_sample(tmp_path: Path, kinds: list[tuple[str, int, int]]) -> None:
    path = chain(tmp_path, kinds)
    scanned = first_pass(path)
    assert scanned.sound is not None
    assert scanned.sound.end_s == pytest.approx(len(kinds), abs=0.03)  # Vorbis ends with its last block
    expected = [k + CLICK_S for k in range(len(kinds))]
    assert onsets_s(scanned.sound, float(len(kinds))) == pytest.approx(expected, abs=0.005)
    assert scanned.sound.drift_s_per_min == 0.0
    assert f"{len(kinds)} parts" in scanned.timeline.notes()[0]
    _, exists = place(scanned.sound, origin_s=0.0, duration_s=float(len(kinds)))
    assert exists.mean() > 0.99
    assert MediaReader().header(path).duration_s == pytest.approx(len(kinds), abs=0.03)


def test_a_span_lies_on_the_clock_of_the_whole_chain(tmp_path: Path) -> None:
    path = chain(tmp_path, LINKS["opus"])
    part: FileScan = scan(
        path, MediaLimits(), rate_hz=RATE_HZ, where="t", picture=False, sound=True, span=Span(start_s=1.2, end_s=2.9)
    )
    assert part.sound is not None
    assert part.window is not None
    assert onsets_s(part.sound, 1.7, part.window.start_s) == pytest.approx([0.3, 1.3], abs=0.005)


def test_the_whole_chain_counts_for_the_limit(tmp_path: Path) -> None:
    path = chain(tmp_path, LINKS["opus"])
    with pytest.raises(MediaError) as refused:
        first_pass(path, MediaLimits(max_duration_s=2.5))
    assert refused.value.code == "too-long"
    assert refused.value.seen == "3.0 s"


def test_a_damaged_link_ends_the_chain(tmp_path: Path) -> None:
    path = chain(tmp_path, LINKS["opus"])
    data = bytearray(path.read_bytes())
    first, _ = links_of(path)[1]
    data[first + 28 : first + 60] = bytes(32)
    path.write_bytes(data)
    sound = first_pass(path).sound
    assert sound is not None
    assert sound.end_s >= 1.0 - 0.003


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_joined_matroska_has_all_its_links(tmp_path: Path, suffix: str, live: bool) -> None:
    codecs = {"mkv": {"audio_codec": "flac"}, "webm": {"video_codec": "libvpx", "audio_codec": "libopus"}}[suffix]
    pictures = [grey(40 + 10 * k) for k in range(10)]
    data = write_clip(tmp_path / f"a.{suffix}", pictures=pictures, sound=tone(0.4), **codecs).read_bytes()
    if live:  # as a browser records: the size of a segment is not known when it begins
        at = data.index(SEGMENT) + len(SEGMENT)
        data = patched(data, at, b"\x01" + 7 * b"\xff")
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(3 * data)
    assert links_of(path) == tuple((k * len(data), (k + 1) * len(data)) for k in range(3))
    scanned = first_pass(path)
    assert scanned.pictures is not None
    assert scanned.sound is not None
    assert scanned.pictures.times_s == pytest.approx(np.arange(30) / 25, abs=0.0021)
    assert scanned.sound.end_s == pytest.approx(1.2, abs=0.021)
    got, _ = all_pictures(path, scanned.pictures)
    assert [round(float(got[k].mean())) for k in range(30)] == pytest.approx(
        3 * [40 + 10 * k for k in range(10)], abs=4
    )


def test_a_file_is_searched_for_links_once_per_version(tmp_path: Path) -> None:
    path = chain(tmp_path, LINKS["opus"])
    _links.cache_clear()
    first = links_of(path)
    first_pass(path)
    assert links_of(path) == first
    assert _links.cache_info().misses == 1
    path.write_bytes(path.read_bytes()[: first[1][1]])
    assert links_of(path) == first[:2]


def test_other_files_have_no_links(tmp_path: Path) -> None:
    assert len(links_of(write_clip(tmp_path / "a.ogg", sound=tone(0.2), audio_codec="libopus"))) == 1
    assert links_of(write_clip(tmp_path / "a.wav", sound=tone(0.2), audio_codec="pcm_s16le")) == ()
    for name, data in (("empty.ogg", b""), ("cut.ogg", b"OggS\x00\x02"), ("short.ogg", b"OggS\x00\x02" + bytes(10))):
        (tmp_path / name).write_bytes(data)
        assert len(links_of(tmp_path / name)) <= 1
