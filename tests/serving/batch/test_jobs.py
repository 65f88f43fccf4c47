"""Jobs on disk, as several replicas see them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from components.contracts.errors import DataError, UnavailableError
from components.serving.answers.schemas import Answer
from components.serving.batch import jobs as module
from components.serving.batch.answered import write_problem
from components.serving.batch.jobs import ANSWERED, FAILED, Job, Jobs
from components.serving.batch.schemas import BatchClip, BatchRequest, BatchState
from tests.serving.answers.test_schemas import answer_fields

ANSWER = Answer.model_validate(answer_fields())
# A replica that is killed while it judges a clip.
JUDGES = """
import os, signal, sys
from pathlib import Path
from components.serving.batch.jobs import Jobs
with Jobs(root=Path(sys.argv[1]), most=4, keep_s=60).claimed() as claim:
    print(claim.number, flush=True)
    signal.pause()
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(root=tmp_path / "jobs", most=2, keep_s=3600.0)


def added(jobs: Jobs, *names: str, owner: str = "app", key: str | None = None) -> Job:
    """A job whose files were sent."""
    received = jobs.new()
    (received.path / "files" / "clip").mkdir(parents=True)
    for name in names:
        (received.path / "files" / "clip" / name).write_bytes(name.encode())
    asked = BatchRequest(clips=[BatchClip(clip=name) for name in names])
    try:
        return jobs.add(received, asked, owner=owner, key=key, content=" ".join(names))
    finally:
        received.remove()


def judge(jobs: Jobs, outcome: str = ANSWERED) -> str | None:
    """Judges the next clip; returns its name."""
    with jobs.claimed() as claim:
        if claim is None:
            return None
        if outcome == ANSWERED:
            claim.job.answer(claim.number).write_text(ANSWER.to_json())
        else:
            write_problem(claim.job.answer(claim.number), DataError("too dark", where=claim.clip.shown))
        claim.end(outcome)
        return claim.clip.shown


def test_a_job_has_a_row_per_clip_in_order_and_its_files_go_with_their_clips(jobs: Jobs) -> None:
    job = added(jobs, "b.mp4", "a.mp4", "c.mp4")
    assert job.status(60).state == BatchState.WAITING
    with pytest.raises(UnavailableError, match="not finished") as early:
        jobs.result(job, "clips")
    assert early.value.code == "unfinished"
    assert [judge(jobs), judge(jobs, FAILED)] == ["b.mp4", "a.mp4"]
    assert sorted(path.name for path in (job.folder / "files" / "clip").iterdir()) == ["c.mp4"]
    status = job.status(60)
    assert (status.state, status.clips, status.answered, status.failed) == (BatchState.RUNNING, 3, 1, 1)
    assert judge(jobs) == "c.mp4"
    assert judge(jobs) is None
    assert job.status(60).state == BatchState.FINISHED
    assert not (job.folder / "files").exists()
    clips = pd.read_parquet(jobs.result(job, "clips"))
    assert clips["clip"].tolist() == ["b.mp4", "a.mp4", "c.mp4"]
    assert clips["what"].tolist() == [None, "too dark", None]
    assert clips["version"].tolist() == [ANSWER.model.version, None, ANSWER.model.version]
    moments = pd.read_parquet(jobs.result(job, "moments"))
    assert moments["clip"].drop_duplicates().tolist() == ["b.mp4", "c.mp4"]


def test_a_clip_is_judged_by_one_at_a_time_and_keys_take_turns(jobs: Jobs) -> None:
    first = added(jobs, "1.mp4", "2.mp4", owner="a")
    added(jobs, "3.mp4", owner="b")
    other = Jobs(root=jobs.root, most=2, keep_s=3600.0)  # of a second replica
    with jobs.claimed() as one, other.claimed() as two:
        assert one is not None
        assert two is not None
        assert [one.clip.shown, two.clip.shown] == ["1.mp4", "2.mp4"]
        with jobs.claimed() as three:
            assert three is not None
            assert three.clip.shown == "3.mp4"  # of the key whose turn it is
        with other.claimed() as none:
            assert none is not None
            assert none.clip.shown == "3.mp4"  # left undone, so it is free again
    assert first.status(60).answered == 0


def test_of_a_killed_replica_only_the_clip_that_it_judged_is_judged_again(jobs: Jobs) -> None:
    job = added(jobs, "a.mp4", "b.mp4", "c.mp4")
    assert judge(jobs) == "a.mp4"
    command = [sys.executable, "-c", JUDGES, str(jobs.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as replica:
        assert replica.stdout is not None
        assert replica.stdout.readline() == "1\n"
        with jobs.claimed() as claim:
            assert claim is not None
            assert claim.number == 2  # the other one is being judged
        os.kill(replica.pid, signal.SIGKILL)
    assert [judge(jobs), judge(jobs), judge(jobs)] == ["b.mp4", "c.mp4", None]
    assert job.status(60).answered == 3


def test_a_clip_that_ends_replicas_is_given_up(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    job = added(jobs, "deadly.mp4", "b.mp4")
    for _ in range(2):
        with pytest.raises(MemoryError), jobs.claimed():
            raise MemoryError
    assert judge(jobs) == "b.mp4"
    clips = pd.read_parquet(jobs.result(job, "clips"))
    assert clips["error"].tolist() == ["crashed", None]
    assert clips["seen"].tolist() == ["2 times", None]


def test_the_same_key_of_idempotency_makes_one_job(jobs: Jobs) -> None:
    job = added(jobs, "a.mp4", key="monday")
    assert added(jobs, "a.mp4", key="monday").id == job.id
    assert added(jobs, "a.mp4", key="monday", owner="b").id != job.id
    with pytest.raises(DataError, match="different job") as refused:
        added(jobs, "b.mp4", key="monday")
    assert refused.value.code == "key-reused"
    assert [other.id for other in jobs.all() if other.record.owner == "app"] == [job.id]
    assert not list(jobs.folder.glob(".new-*"))


def test_a_key_has_so_many_unfinished_jobs(jobs: Jobs) -> None:
    first = added(jobs, "a.mp4")
    added(jobs, "b.mp4")
    with pytest.raises(UnavailableError, match="too many jobs") as refused:
        added(jobs, "c.mp4")
    assert refused.value.code == "too-many"
    added(jobs, "c.mp4", owner="b")
    jobs.delete(first)
    added(jobs, "c.mp4")


def test_a_job_is_seen_by_its_key_alone_and_nothing_of_a_deleted_one_is_left(jobs: Jobs) -> None:
    job = added(jobs, "a.mp4")
    assert jobs.get(job.id, owner="app").id == job.id
    for name, owner in ((job.id, "b"), ("0" * 32, "app"), ("../jobs", "app"), (f".new-{'0' * 27}", "app")):
        with pytest.raises(DataError, match="no such job") as refused:
            jobs.get(name, owner=owner)
        assert refused.value.code == "no-batch"
    with jobs.claimed() as claim:
        assert claim is not None
        jobs.delete(job)
        assert job.gone()
        claim.end(ANSWERED)
    assert list(jobs.folder.iterdir()) == []


def test_results_and_leftovers_go_when_their_time_is_over(jobs: Jobs, tmp_path: Path) -> None:
    job, unfinished = added(jobs, "a.mp4"), added(jobs, "b.mp4")
    assert judge(jobs) == "a.mp4"
    (jobs.folder / "half").mkdir()
    jobs.sweep()
    assert sorted(path.name for path in jobs.folder.iterdir()) == sorted([job.id, unfinished.id])
    Jobs(root=jobs.root, most=2, keep_s=0.0).sweep()
    assert [path.name for path in jobs.folder.iterdir()] == [unfinished.id]
    assert Jobs(root=None, most=2, keep_s=0.0).all() == []
    with pytest.raises(UnavailableError, match="takes no jobs"):
        Jobs(root=None, most=2, keep_s=0.0).new()
