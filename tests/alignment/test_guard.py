from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from components.alignment.align import Aligner
from components.alignment.guard import Guard
from components.alignment.outcome import align_one, measured, packed
from components.alignment.said import Said
from components.contracts.atomic import write_table
from components.contracts.config import Alignment, FaceAlignment, MediaLimits, Params, VoiceAlignment
from components.contracts.errors import DataError, MediaError, UnavailableError
from components.contracts.layout import Layout
from components.contracts.records import Clip, clip_table
from components.runtime.children import fork_server, guarded
from components.runtime.patience import Patience
from pipelines.stages import call_stage
from tests.alignment.media import grey, tone, wav, write_clip
from tests.builders import make_clip

PLAIN = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"))
# A child whose decoder really dies of clips that are called so.
DEADLY = """
import os, signal
from components.alignment import guard
from components.runtime.children.guarded import child
real = guard.align_one
def fatal(aligner, clip, root):
    if "deadly" in clip.clip_id:
        os.kill(os.getpid(), signal.SIGSEGV)
    return real(aligner, clip, root)
guard.align_one = fatal
child()
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
    root = guard.root
    write_clip(root / "both.mp4", pictures=[grey(k * 9) for k in range(25)], sound=tone(1.0))
    for clip in (
        sound(root, "one"),
        make_clip("both", video_path="both.mp4"),
        make_clip("gone", video_path="gone.mp4"),
    ):
        assert guard.align(clip) == packed(align_one(Aligner(PLAIN), clip, root))


def test_a_child_that_may_read_one_folder_aligns_what_is_in_it(guard: Guard) -> None:
    write_clip(guard.root / "both.mp4", pictures=[grey(k * 9) for k in range(25)], sound=tone(1.0))
    clip = make_clip("both", video_path="both.mp4", transcript="oh well")
    with Guard(PLAIN, guard.root, only=guard.root) as confined:
        assert confined.aligned_row(clip) == guard.aligned_row(clip)


def test_a_child_killed_between_clips_costs_nothing(guard: Guard) -> None:
    clip = sound(guard.root, "two")
    first = guard.align(clip)
    before = guard.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert guard.align(clip) == first
    assert guard.pid != before


def test_a_clip_that_crashes_its_decoder_is_lost_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "CHILD", DEADLY)
    layout = Layout(tmp_path)
    clips = [sound(tmp_path, name) for name in ("before", "deadly", "later")]
    write_table(layout.dataset("tiny") / "clips.parquet", clip_table(clips))
    summary = call_stage("alignment", Params(alignment=PLAIN), layout, "tiny")
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
    missing = (
        "from components.alignment import align; from components.contracts.errors import UnavailableError\n"
        "from components.runtime.children.guarded import child\n"
        "def none(config, media): raise UnavailableError('no weights', code='weights')\n"
        "align.Aligner = none; child()"
    )
    monkeypatch.setattr(guarded, "CHILD", missing)
    with pytest.raises(UnavailableError, match="no weights"):
        Guard(PLAIN, tmp_path).align(sound(tmp_path, "one"))


def test_who_asks_for_the_clip_itself_gets_it_or_the_aligners_own_error(guard: Guard) -> None:
    write_clip(guard.root / "both.mp4", pictures=[grey(k * 9) for k in range(25)], sound=tone(1.0))
    plain = Aligner(PLAIN)
    clip = make_clip("both", video_path="both.mp4", transcript="oh well")
    alone = plain.align_ungated(clip, root=guard.root)
    assert packed(measured(guard.aligned(clip))) == packed(measured(alone))
    assert guard.aligned(clip).canvas == alone.canvas == (64, 64)
    assert guard.aligned(sound(guard.root, "heard")).canvas is None
    (guard.root / "half.mp4").write_bytes((guard.root / "both.mp4").read_bytes()[:400])
    for name in ("gone.mp4", "half.mp4"):
        broken = make_clip("broken", video_path=name)
        with pytest.raises(MediaError) as raised:
            plain.align_ungated(broken, root=guard.root)
        with pytest.raises(MediaError) as told:
            guard.aligned(broken)
        assert told.value.__reduce__() == raised.value.__reduce__()
        with pytest.raises(MediaError, match=name):
            guard.opened(guard.root / name)
    assert guard.opened(guard.root / "both.mp4", transcript="oh well") == (True, Said(text="oh well"))
    sound(guard.root, "heard")
    assert guard.opened(guard.root / "heard.wav") == (False, Said())


def test_a_clip_with_more_words_than_can_be_said_in_it_is_refused(guard: Guard) -> None:
    clip = replace(sound(guard.root, "short"), transcript="word " * 600)
    with pytest.raises(DataError, match=r"more words than can be said .* at most 2050 in 0\.5 s") as refused:
        guard.aligned(clip)
    assert refused.value.code == "too-long"


def test_a_clip_that_waits_for_ever_is_refused_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no processor time, so no limit on that would ever end it."""
    asleep = (
        "from components.alignment.align import Aligner; from components.runtime.children.guarded import child\n"
        "import signal; Aligner.align_ungated = lambda *_, **__: signal.pause(); child()"
    )
    monkeypatch.setattr(guarded, "CHILD", asleep)
    with Guard(PLAIN, tmp_path) as started:
        started.wait()
        with pytest.raises(MediaError, match=r"more than 0\.2 s") as late:
            started.aligned_row(sound(tmp_path, "one"), patience=Patience(0.2))
    assert late.value.code == "too-slow"


def test_the_child_has_no_secret_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MY_PASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "https_proxy", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setattr(fork_server, "_servers", {})  # a server that began before has the environment of then
    with Guard(PLAIN, tmp_path) as started:
        started.start()
        assert started.pid is not None
        child = psutil.Process(started.pid)
        for process in (child, psutil.Process(child.ppid())):
            assert "hunter2" not in process.environ().values()
            assert process.environ()["PATH"] == os.environ["PATH"]


# Whether the child has torch, by what is mapped into its memory.
UNEXPECTED = """
import sys
from pathlib import Path
from components.alignment.guard import Guard, prepare
from components.contracts.config import Alignment
from tests.builders import make_clip
prepare(Alignment(), [Path('one.wav')])
with Guard(Alignment(), Path(sys.argv[1])) as guard:
    def outcome(**fields):
        quality = guard.result(make_clip(**fields)).quality
        return quality.coverage, "libtorch_cpu" in Path(f"/proc/{guard.pid}/maps").read_text()
    print(outcome(audio_path="one.wav"))
    print(outcome(video_path="both.mp4"))
"""


def test_a_child_that_expects_sound_alone_spares_torch_until_a_clip_has_pictures(tmp_path: Path) -> None:
    sound(tmp_path, "one")
    write_clip(tmp_path / "both.mp4", pictures=[grey(k * 9) for k in range(25)], sound=tone(1.0))
    done = subprocess.run(
        [sys.executable, "-c", UNEXPECTED, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [line.rpartition(", ")[2] for line in done] == ["False)", "True)"]
    assert "'face': 0.0" in done[0]
    assert "'voice': 1.0" in done[0]
