"""What a large corpus needs of the stages: nothing lost, nothing done twice, nothing that grows without bound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.alignment import partial, stage
from components.alignment.partial import Receipt
from components.contracts.layout import Layout
from components.contracts.records import Clip
from pipelines.stages import call_stage
from tests.alignment.media import tone, wav
from tests.alignment.test_stage import NAME, PARAMS, clip_of, put
from tests.trees import tree_sha256

PROJECT = Path(__file__).resolve().parents[2]
CLIPS = 12
# What a stage runs in a process that may be killed: a clip a block, and so one a file: there is something to kill.
DRIVER = """
import sys
from pathlib import Path
from components.alignment import stage
from components.contracts.layout import Layout
from pipelines.stages import call_stage
from tests.alignment.test_stage import NAME, PARAMS
stage.IN_PROCESS_CLIPS, stage.BATCH_CLIPS = 0, 1
call_stage("alignment", PARAMS, Layout(Path(sys.argv[1])), NAME)
"""

pytestmark = pytest.mark.integration


def corpus(root: Path) -> list[Clip]:
    """Sound files and one that is no media."""
    media = root / "media"
    media.mkdir(parents=True)
    clips = [clip_of(root, wav(media / f"{k:02d}.wav", tone(0.5, 16_000, hz=200 + k))) for k in range(CLIPS)]
    (media / "broken.mp4").write_text("no media\n" * 20)
    return [*clips, clip_of(root, media / "broken.mp4")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, list[Clip], str]:
    """A run that nothing interrupts: its project, its clips, the hash of what it writes."""
    layout = Layout(tmp_path_factory.mktemp("whole"))
    clips = corpus(layout.root)
    put(layout, clips)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "IN_PROCESS_CLIPS", 1_000)
        call_stage("alignment", PARAMS, layout, NAME)
    return layout, clips, tree_sha256(layout.aligned(NAME))


def project(whole: tuple[Layout, list[Clip], str], root: Path) -> Layout:
    """The same corpus, nothing done yet."""
    layout = Layout(root)
    root.mkdir(exist_ok=True)
    (root / "media").symlink_to(whole[0].root / "media")
    put(layout, whole[1])
    return layout


def committed(layout: Layout) -> list[Path]:
    return sorted(layout.partial(stage.STAGE, NAME).glob(f"*{partial.SUFFIX}"))


def test_a_run_whose_driver_was_killed_is_taken_up_where_it_was(
    whole: tuple[Layout, list[Clip], str], tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    layout = project(whole, tmp_path / "project")
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(layout.root)],
        cwd=PROJECT,
        env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.PIPE,
    )
    while driver.poll() is None and len(committed(layout)) < 2:
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    _, said = driver.communicate()
    assert driver.returncode == -signal.SIGKILL, said.decode()
    assert not layout.aligned(NAME).exists()
    kept = committed(layout)
    assert kept
    kept[0].write_bytes(kept[0].read_bytes()[:-1])  # one that was cut off counts for nothing
    seen = aligned_by(monkeypatch)
    monkeypatch.setattr(stage, "IN_PROCESS_CLIPS", 1_000)
    summary = call_stage("alignment", PARAMS, layout, NAME)
    assert summary["aligned_now"] == len(seen) == len(set(seen))
    assert len(seen) == len(whole[1]) - (len(kept) - 1)
    assert tree_sha256(layout.aligned(NAME)) == whole[2]
    assert not layout.partial(stage.STAGE, NAME).exists()


def aligned_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records which clips this process aligns; the aligner stays the real one."""
    from components.alignment.guard import Guard

    seen: list[str] = []
    real = Guard.align

    def recorded(self: Guard, clip: Clip) -> dict[str, Any]:
        seen.append(clip.clip_id)
        return real(self, clip)

    monkeypatch.setattr(Guard, "align", recorded)
    return seen


@pytest.mark.bench
def test_an_actor_that_is_lost_costs_nobody_a_clip(
    whole: tuple[Layout, list[Clip], str], tmp_path: Path, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = project(whole, tmp_path / "project")
    real, came, killed = stage._in_ray, [], []

    def watched(*arguments: Any, **others: Any) -> Iterator[Receipt]:
        before = set(pids())
        for result in real(*arguments, **others):
            if not killed:
                killed.append(next(pid for pid in pids() if pid not in before))
                os.kill(killed[0], signal.SIGKILL)
            came.append(result.clip_id)
            yield result

    monkeypatch.setattr(stage, "_in_ray", watched)
    monkeypatch.setattr(stage, "IN_PROCESS_CLIPS", 0)
    monkeypatch.setattr(stage, "BATCH_CLIPS", 1)
    call_stage("alignment", PARAMS, layout, NAME)
    assert killed
    assert sorted(came) == sorted(clip.clip_id for clip in whole[1])
    assert tree_sha256(layout.aligned(NAME)) == whole[2]


def pids() -> list[int]:
    """The processes of living actors that align."""
    from ray._private.state import actors

    alive = (actor for actor in actors().values() if actor["State"] == "ALIVE")
    return [actor["Pid"] for actor in alive if "AlignBatch" in actor["ActorClassName"]]
