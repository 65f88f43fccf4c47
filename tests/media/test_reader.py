from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.contracts.errors import MediaError
from components.media.reader import Header, MediaReader
from components.runtime.children import guarded
from tests.alignment.media import grey, tone, wav, write_clip

# A child that really dies of files that are called so.
DEADLY = """
import os, signal
from components.runtime.children.guarded import child
from components.media import reader as media_reader
real = media_reader._opened
def fatal(path):
    if "deadly" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    return real(path)
media_reader._opened = fatal
child()
"""


def test_headers_say_what_there_is(tmp_path: Path) -> None:
    write_clip(tmp_path / "both.mp4", pictures=[grey(40)] * 25, sound=tone(1.0))
    wav(tmp_path / "heard.wav", tone(0.5, 16_000))
    (tmp_path / "damaged.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(40))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile both.mp4\n")
    names = ["both.mp4", "heard.wav", "damaged.mp4", "list.mp4", "gone.mp4"]
    reader = MediaReader(2)
    with ThreadPoolExecutor(4) as pool:
        both, heard, *others = pool.map(lambda name: reader.header(tmp_path / name), names)
    assert [len(both.picture_tracks), len(both.sound_tracks)] == [1, 1]
    assert both.duration_s == pytest.approx(1.0, abs=0.05)
    assert (heard.duration_s, heard.picture_tracks, len(heard.sound_tracks)) == (0.5, (), 1)
    assert others == [Header()] * 3


def test_a_file_that_kills_the_child_is_refused_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "CHILD", DEADLY)
    for name in ("deadly.mp4", "good.mp4"):
        write_clip(tmp_path / name, pictures=[grey(40)] * 3, fps=10.0)
    reader = MediaReader()
    with pytest.raises(MediaError) as refused:
        reader.times_s(tmp_path / "deadly.mp4")
    assert (refused.value.code, refused.value.seen) == ("crashed", "signal SIGSEGV, 2 times")
    assert reader.header(tmp_path / "deadly.mp4") == Header()
    assert sorted(reader.times_s(tmp_path / "good.mp4")) == pytest.approx([0.0, 0.1, 0.2])
