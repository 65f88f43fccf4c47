"""Two real versions in one replica: who answers, and how they compare."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError, ModelError
from components.runtime.patience import Patience
from components.serving.assignment import Assignment, Trial, VersionRef
from components.serving.clips import clip_of_file
from components.serving.service import Service, ServiceSettings
from components.serving.trial import WINDOW, Contest, Ledger, TrialCounts, takes
from tests.serving.bundles import SPECS, tiny_bundle
from tests.serving.test_service import cached


def assigned(champion: VersionRef, challenger: VersionRef, share: float = 0.0) -> Assignment:
    return Assignment(**champion.model_dump(), trial=Trial(challenger=challenger, share=share))


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VersionRef, VersionRef, VersionRef]:
    """A cache with three versions; the third one reads voices differently."""
    cache = tmp_path_factory.mktemp("cache")
    alike = [cached(cache, seed=seed, version=str(seed)) for seed in (1, 2)]
    sha256 = tiny_bundle(cache / "making", seed=3, modalities=("face", "text"), specs=SPECS)
    (cache / "making").rename(cache / sha256)
    other = alike[0].model_copy(update={"version": "3", "bundle_sha256": sha256})
    return cache, alike[0], alike[1], other


@pytest.fixture(scope="module")
def service(refs: tuple[Path, VersionRef, VersionRef, VersionRef]) -> Iterator[Service]:
    service = Service(
        ServiceSettings(cache=refs[0], limits=MediaLimits(), golden_tolerance=1e-4, alias="champion"), replica="r1"
    )
    yield service
    service.load({})


@pytest.fixture(scope="module")
def inside(service: Service, clip_path: Path) -> Path:
    """The clip where uploads are: a replica's children read nothing else."""
    return Path(shutil.copy(clip_path, service.uploads.path))


def contest_of(service: Service, assignment: Assignment) -> Contest:
    service.load(assignment.to_config())
    contest = service.contest()
    assert contest is not None
    return contest


@given(request_id=st.text(), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_larger_share_has_the_requests_of_a_smaller_one(request_id: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert takes(request_id, low, "salt") <= takes(request_id, high, "salt")
    assert not takes(request_id, 0.0, "salt")
    assert takes(request_id, 1.0, "salt")


def test_a_share_is_that_share_of_the_requests_and_a_different_one_per_challenger() -> None:
    ids = [f"{number:x}" for number in range(4000)]
    first, second = ([takes(name, 0.1, salt) for name in ids] for salt in ("a", "b"))
    for chosen in (first, second):
        assert 320 <= sum(chosen) <= 480
    assert sum(a and b for a, b in zip(first, second, strict=True)) < 100


def test_counts_add_up_and_old_ones_are_forgotten() -> None:
    ledger = Ledger("t")
    for _ in range(2 * WINDOW):
        ledger.add("differed")
    for _ in range(3):
        ledger.add("agreed", timed=1, challenger_s=0.3, champion_s=0.2)
    ledger.answered()
    counts = ledger.counts()
    assert (counts.differed, counts.agreed, counts.answered) == (WINDOW - 4, 3, 1)
    both = counts + TrialCounts(trial="t", agreed=2, problem="late")
    assert (both.agreed, both.timed, both.problem) == (5, 3, "late")
    assert both.latency_ratio == pytest.approx(1.5)
    assert TrialCounts(trial="t").agreement is None


def test_each_side_answers_by_its_name_and_the_other_judges_what_was_read(
    service: Service, refs: tuple[Path, VersionRef, VersionRef, VersionRef], inside: Path
) -> None:
    _, champion, challenger, _ = refs
    service.load(champion.model_dump())
    kept = service.current()
    for share, version, other in ((0.0, "1", "2"), (1.0, "2", "1")):
        contest = contest_of(service, assigned(champion, challenger, share))
        assert service.current() is kept
        assert contest.alike
        clip = clip_of_file(inside, contest.champion.guard)
        answer, mirrored = contest.judge(clip, "request", Patience(), why=False)
        assert answer.model.version == version
        expected = {"1": contest.champion, "2": contest.challenger}[version].predict(clip)
        assert answer.posterior == pytest.approx(expected.posterior, abs=1e-6)
        assert mirrored is not None
        assert mirrored.second.model.version == other
        assert mirrored.reading is not None
        mirrored.run(Patience())
    counts = service.trial_counts()
    assert counts is not None
    assert (counts.answered, counts.compared, counts.timed, counts.errors) == (1, 2, 2, 0)
    assert counts.challenger_s > 0 < counts.champion_s

    # The challenger is promoted: it is there already.
    tried = contest.challenger
    service.load(challenger.model_dump())
    assert (service.current(), service.contest(), service.trial_counts()) == (tried, None, None)


def test_a_clip_that_the_challenger_cannot_judge_is_the_champions(
    service: Service,
    refs: tuple[Path, VersionRef, VersionRef, VersionRef],
    inside: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, champion, challenger, _ = refs
    contest = contest_of(service, assigned(champion, challenger, 1.0))

    def broken(*_: object, **__: object) -> None:
        raise ModelError("it has forgotten everything")

    monkeypatch.setattr(contest.challenger, "_judgement", broken)
    clip = clip_of_file(inside, contest.champion.guard)
    answer, mirrored = contest.judge(clip, "request", Patience(), why=False)
    assert (answer.model.version, mirrored) == ("1", None)
    counts = contest.ledger.counts()
    assert (counts.errors, counts.answered) == (1, 0)
    # As a shadow it fails alone.
    shadow = Contest(champion=contest.champion, challenger=contest.challenger, share=0.0, ledger=contest.ledger)
    answer, mirrored = shadow.judge(clip, "request", Patience(), why=False)
    assert mirrored is not None
    mirrored.run(Patience())
    assert contest.ledger.counts().errors == 2
    # A clip that nobody can judge is nobody's fault.
    text = inside.with_name("text.mp4")
    text.write_text("I am a text.")
    with pytest.raises(MediaError):
        contest.judge(replace(clip, video_path=str(text)), "request", Patience(), why=False)
    assert contest.ledger.counts().errors == 2


def test_a_challenger_that_reads_clips_differently_has_children_of_its_own_and_can_be_given_up(
    service: Service, refs: tuple[Path, VersionRef, VersionRef, VersionRef], inside: Path
) -> None:
    _, champion, _, other = refs
    contest = contest_of(service, assigned(champion, other))
    assert not contest.alike
    assert contest.challenger.encoders.pid != contest.champion.encoders.pid
    assert contest.challenger.guard.pid != contest.champion.guard.pid
    clip = clip_of_file(inside, contest.champion.guard)
    for gives_up in (False, True):
        _, mirrored = contest.judge(clip, "request", Patience(), why=False)
        assert mirrored is not None
        assert mirrored.reading is None
        patience = Patience()
        if gives_up:
            patience.give_up()
        mirrored.run(patience)
    counts = contest.ledger.counts()
    assert (counts.compared, counts.timed, counts.dropped) == (1, 1, 1)


def test_a_challenger_that_cannot_be_loaded_keeps_nobody_from_being_served(
    service: Service, refs: tuple[Path, VersionRef, VersionRef, VersionRef]
) -> None:
    _, champion, challenger, _ = refs
    service.load(assigned(champion, challenger.model_copy(update={"bundle_sha256": "0" * 64})).to_config())
    assert service.current().model.version == "1"
    assert service.contest() is None
    counts = service.trial_counts()
    assert counts is not None
    assert counts.problem
