from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from components.alignment import guard as module
from components.alignment import stage
from components.alignment.align import Aligner
from components.alignment.guard import Guard
from components.alignment.outcome import align_one, packed
from components.contracts.atomic import write_table
from components.contracts.config import Alignment, FaceAlignment, MediaLimits, Params, VoiceAlignment
from components.contracts.errors import UnavailableError
from components.contracts.layout import Layout
from components.contracts.records import Clip, clip_table
from tests.alignment.media import grey, tone, wav, write_clip
from tests.builders import make_clip

PLAIN = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"))
# A child whose decoder really dies of clips that are called so.
DEADLY = """
import os, signal
from components.alignment import guard
real = guard.align_one
def fatal(aligner, clip, root):
    if "deadly" in clip.clip_id:
        os.kill(os.getpid(), signal.SIGSEGV)
    return real(aligner, clip, root)
guard.align_one = fatal
guard.child()
"""


def limited(**limits: float) -> Alignment:
    return PLAIN.model_copy(update={"limits": MediaLimits.model_validate(limits)})


def sound(root: Path, name: str) -> Clip:
    path = wav(root / f"{name}.wav", tone(0.5, 16_000))
    return make_clip(name, audio_path=path.name)


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guard]:
    with Guard(PLAIN, tmp_path_factory.mktemp("guard")) as started:
        yield started


def test_a_clip_comes_out_as_without_a_guard(guard: Guard) -> None:
    root = guard._root
    write_clip(root / "both.mp4", pictures=[grey(k * 9) for k in range(25)], sound=tone(1.0))
    for clip in (
        sound(root, "one"),
        make_clip("both", video_path="both.mp4"),
        make_clip("gone", video_path="gone.mp4"),
    ):
        assert guard.align(clip) == packed(align_one(Aligner(PLAIN), clip, root))


def test_a_child_killed_between_clips_costs_nothing(guard: Guard) -> None:
    clip = sound(guard._root, "two")
    first = guard.align(clip)
    before = guard.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert guard.align(clip) == first
    assert guard.pid != before


def test_a_clip_that_crashes_its_decoder_is_lost_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHILD", DEADLY)
    layout = Layout(tmp_path)
    clips = [sound(tmp_path, name) for name in ("before", "deadly", "later")]
    write_table(layout.dataset("tiny") / "clips.parquet", clip_table(clips))
    summary = stage.run("tiny", Params(alignment=PLAIN), layout)
    assert summary["aligned"] == 2
    assert summary["quarantined_by_code"] == {"crashed": 1}
    (row,) = pq.read_table(layout.aligned("tiny") / "quarantine.parquet").to_pylist()
    assert (row["clip_id"], row["seen"]) == ("tiny/deadly", "signal SIGSEGV, 2 times")


def test_a_clip_over_its_time_is_refused_and_the_next_one_is_not(tmp_path: Path) -> None:
    write_clip(tmp_path / "long.mp4", pictures=[grey(k % 250, 640, 480) for k in range(400)], fps=100.0)
    with Guard(limited(max_work_s=0.05), tmp_path) as started:
        slow = started.result(make_clip("long", video_path="long.mp4")).quarantined
        assert slow is not None
        assert (slow.code, slow.allowed) == ("too-slow", "at most 0.05 s")
        missing = started.result(make_clip("gone", video_path="gone.mp4")).quarantined
        assert missing is not None
        assert missing.code == "missing-file"


def test_a_clip_over_its_memory_is_refused_by_the_same_child(tmp_path: Path) -> None:
    write_clip(tmp_path / "large.mp4", pictures=[grey(k * 40, 4096, 2304) for k in range(4)], video_codec="mpeg4")
    with Guard(limited(max_memory_mb=64), tmp_path) as started:
        small = sound(tmp_path, "small")
        first = started.align(small)
        child = started.pid
        large = started.result(make_clip("large", video_path="large.mp4")).quarantined
        assert large is not None
        assert large.code == "memory"
        assert started.align(small) == first
        assert started.pid == child


def test_the_child_ends_with_its_guard(tmp_path: Path) -> None:
    started = Guard(PLAIN, tmp_path)
    started.align(sound(tmp_path, "one"))
    pid = started.pid
    assert pid is not None
    started.close()
    assert not psutil.pid_exists(pid)
    started.close()


def test_what_stops_the_aligner_stops_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHILD", "import sys; sys.exit(3)")
    with pytest.raises(UnavailableError, match=r"ended before its first clip; seen 'exit status 3'"):
        Guard(PLAIN, tmp_path).align(sound(tmp_path, "one"))
    missing = (
        "from components.alignment import align, guard; from components.contracts.errors import UnavailableError\n"
        "def none(config): raise UnavailableError('no weights', code='weights')\n"
        "align.Aligner = none; guard.child()"
    )
    monkeypatch.setattr(module, "CHILD", missing)
    with pytest.raises(UnavailableError, match="no weights"):
        Guard(PLAIN, tmp_path).align(sound(tmp_path, "one"))
