"""Quarantine: listing, details, decisions and acceptance, with real stages on a tiny folder of features."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from components.contracts.atomic import read_json, write_json
from components.contracts.errors import ConfigError, ContractError, DataError
from components.contracts.layout import Layout
from components.contracts.readmitted import Readmitted, read_readmitted, write_readmitted
from components.contracts.records import Quarantined, quarantine_table
from pipelines import inputs
from pipelines.commands.accept import accept
from pipelines.commands.quarantine.listing import listing, show
from pipelines.commands.quarantine.readmit import readmit
from pipelines.project import load
from pipelines.stages import call_stage
from tests.datasets.feature_folders import separable, write_features
from tests.pipelines.projects import ROOT

pytestmark = pytest.mark.integration

NAME = "feature_table"
TWICE = ("feature_table/p00_c0", "feature_table/p00_c1")  # one recording under two labels
GONE = "feature_table/p05_c2"  # it has no features


def corpus(folder: Path, *, repaired: bool = False) -> None:
    table, arrays = separable(6, 3)
    for values in arrays.values():
        values["p00_c1"] = values["p00_c0"]
        if not repaired:
            del values["p05_c2"]
    write_features(folder, table, arrays)


def run(layout: Layout) -> None:
    """The stages up to validation, each in this process."""
    params = load(layout.root)
    inputs.write(params, layout)
    for stage in ("datasets", "alignment", "features", "validation"):
        call_stage(stage, params, layout, NAME)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three clips in quarantine."""
    root = tmp_path_factory.mktemp("readmit") / "project"
    root.mkdir()
    (root / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    params = {"datasets": [NAME], NAME: {"root": "sets"}, "validation": {"min_clips": 4, "min_clips_per_class": 1}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    corpus(root / "sets")
    run(Layout(root))
    return root


@pytest.fixture
def layout(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A copy of it, as the current folder."""
    root = tmp_path / "project"
    shutil.copytree(once, root)
    monkeypatch.chdir(root)
    return Layout(root)


def accepted(layout: Layout) -> set[str]:
    return set(pq.read_table(layout.validated(NAME) / "accepted.parquet").column("clip_id").to_pylist())


def test_a_clip_is_accepted_by_decision_with_its_reason_and_after_a_repair_by_itself(layout: Layout) -> None:
    assert not {*TWICE, GONE} & accepted(layout)
    assert accept() == (
        f"{NAME}: 15 clips of 6 people\n"
        "Commit baselines/: from the next `mer run` on, data are compared with this baseline"
    )
    printed = readmit(TWICE, reason="the actor was to do both,\naccording to the director")
    assert "2 to be taken as they are by the next `mer run`; commit readmitted.csv" in printed
    assert "decided for validation: one_emotion_a_recording" in show(TWICE[0])
    corpus(layout.root / "sets", repaired=True)
    run(layout)
    assert {*TWICE, GONE} <= accepted(layout)
    assert listing() == "Nothing was set aside."
    result = read_json(layout.validated(NAME) / "result.json")
    reason = "the actor was to do both, according to the director"
    assert [(clip["clip_id"], clip["seen"], clip["reason"]) for clip in result["readmitted"]] == [
        (clip_id, "2", reason) for clip_id in TWICE
    ]
    assert result["drift"]["compared_with"] == {"clips": 15, "people": 6}
    described = call_stage("catalog", load(layout.root), layout)
    assert described["readmitted"] == result["readmitted"]
    assert reason in (layout.data_docs / NAME / "index.html").read_text()
    assert accept().startswith(f"{NAME}: 15 clips of 6 people → 18 clips of 6 people\n")


def test_everything_about_a_clip_is_shown(layout: Layout) -> None:
    assert listing().endswith("`mer quarantine show CLIP` shows everything about one clip\n3 set aside")
    shown = show(TWICE[0])
    for line in (
        "set aside by validation: one_emotion_a_recording",
        "  seen     2",
        "  allowed  one emotion",
        "  remedy   The same recording has several labels; keep the right one",
        "  emotion        anger",
        "  sets/face_au.npz  (",
        f'`mer quarantine readmit {TWICE[0]} --reason "…"`, then `mer run`: take it as it is',
    ):
        assert line in shown
    assert "try once more" not in shown
    gone = show(GONE)
    assert "set aside by datasets: no-features" in gone
    assert "try once more as it is" in gone
    assert "take it as it is" not in gone
    with pytest.raises(DataError, match=r"not in quarantine.*Did you mean 'feature_table/p00_c"):
        show("feature_table/p00_c")


def test_a_further_try_is_counted_and_other_decisions_stay(layout: Layout) -> None:
    other = Readmitted(dataset="else", clip_id="else/a", stage="alignment", code="crashed", how="again")
    write_readmitted(layout.readmitted, [other])
    assert "1 to be tried again" in readmit(code="no-features")
    readmit([GONE])
    own, unchanged = sorted(read_readmitted(layout.readmitted), key=lambda row: row.dataset, reverse=True)
    assert unchanged == other
    assert (own.clip_id, own.stage, own.how, own.tries) == (GONE, "datasets", "again", 2)


def test_a_decision_about_a_former_code_is_continued(layout: Layout) -> None:
    folder = layout.features(NAME)
    folder.mkdir(parents=True, exist_ok=True)
    row = Quarantined(dataset=NAME, clip_id=TWICE[0], stage="features", code="non_finite", message="not finite")
    pq.write_table(quarantine_table([row]), folder / "quarantine.parquet")
    former = Readmitted(dataset=NAME, clip_id=TWICE[0], stage="features", code="non_finite", how="again", tries=3)
    write_readmitted(layout.readmitted, [former])
    for code in ("non_finite", "not-finite"):
        assert "[features: not-finite]" in readmit(code=code)
    assert [row.tries for row in read_readmitted(layout.readmitted)] == [5]


def test_everything_at_once_leaves_and_lists_clips_that_need_a_reason(layout: Layout) -> None:
    printed = readmit(everything=True)
    assert "1 to be tried again" in printed
    assert printed.count("left in quarantine: ") == 2
    assert 'Give a reason to accept it: --reason "…"' in printed
    printed = readmit(everything=True, reason="checked by ear")
    assert "2 to be taken as they are" in printed
    assert f"{GONE} [datasets: no-features]: this clip cannot be accepted as it is" in printed


def test_what_cannot_be_readmitted_is_refused_with_a_remedy(layout: Layout) -> None:
    with pytest.raises(DataError, match="a second try would have the same result"):
        readmit([TWICE[0]])
    with pytest.raises(DataError, match="this clip cannot be accepted as it is"):
        readmit([GONE], reason="I like it")
    with pytest.raises(ConfigError, match="the reason is empty"):
        readmit([TWICE[0]], reason=" ")
    with pytest.raises(ConfigError, match="clips must be chosen in exactly one way"):
        readmit()
    with pytest.raises(ConfigError, match="clips must be chosen in exactly one way"):
        readmit([GONE], everything=True)
    with pytest.raises(DataError, match="Did you mean 'no-features'"):
        readmit(code="no-feature")
    with pytest.raises(DataError, match="Did you mean 'feature_table/p05_c2'"):
        readmit(["feature_table/p05_c"])
    assert not layout.readmitted.exists()


def test_data_that_break_an_expectation_other_than_drift_are_not_accepted(layout: Layout) -> None:
    path = layout.validated(NAME) / "result.json"
    result = read_json(path)
    moved = {"what": "durations", "value": 9.0, "limit": 1.0, "by_chance": False, "seen": "longer", "moved": True}
    write_json(path, {**result, "success": False, "drift": {**result["drift"], "measures": {"durations": moved}}})
    accept(dataset=NAME)
    layout.baseline(NAME).unlink()
    suites = {**result["suites"], "accepted": {"failed": {"min_clips": {"level": "critical"}}}}
    write_json(path, {**result, "success": False, "suites": suites})
    with pytest.raises(ContractError, match=r"cannot be accepted; seen 'accepted\.min_clips'"):
        accept()
    shutil.rmtree(layout.validated(NAME))
    with pytest.raises(DataError, match="has not been validated"):
        accept()
    assert not layout.baseline(NAME).exists()


def test_the_accepted_profile_is_that_of_the_corpus(layout: Layout) -> None:
    """Compared with figures computed here from the arrays."""
    _, arrays = separable(6, 3)
    names = sorted(name.partition("/")[2] for name in accepted(layout))
    values = np.concatenate([arrays["face_au"][name] for name in names])
    profile = read_json(layout.validated(NAME) / "profile.json")
    # A vector without a rate is valid at every step of a clip, and these clips have equal lengths.
    assert profile["features"]["face_au"]["mean"] == pytest.approx(values.mean(axis=0), rel=1e-4)
    assert profile["emotions"] == {"anger": 5, "fear": 5, "happiness": 5}
    assert profile["effective_people"] == pytest.approx(15**2 / (1 + 4 * 9 + 4), rel=1e-5)
