"""WESAD: conditions become clips of labelled signals, each sample where it was."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.alignment.physio import read_physio
from components.contracts.config import MediaLimits
from components.contracts.labels import ABAW8
from components.contracts.layout import Layout
from components.contracts.records import Clip
from components.datasets.base import Scan
from components.datasets.corpora import wesad
from components.datasets.corpora.wesad import Wesad, WesadOptions
from components.datasets.corpora.wesad_media import pieces_of
from tests.datasets.wesad_files import python2_pickle, recording, write_subject
from tests.trees import tree_sha256


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    write_subject(folder, "S2")
    return folder


def scan(corpus: Path, **options: object) -> Scan:
    return Wesad().scan(WesadOptions.model_validate({"root": "corpus", **options}), corpus.parent, 7)


def by_name(found: Scan) -> dict[str, Clip]:
    return {clip.clip_id.removeprefix("wesad/"): clip for clip in found.clips}


def test_each_condition_is_clips_with_the_emotion_it_was_to_bring_about(corpus: Path) -> None:
    write_subject(corpus, "S10", conditions=((3, 6.0), (5, 6.0), (4, 6.0), (0, 6.0), (4, 6.0), (2, 1.0), (6, 6.0)))
    found = by_name(scan(corpus))
    assert {name: clip.emotion for name, clip in found.items()} == {
        "S2/baseline_1_01": "neutral",
        "S2/stress_1_01": "stress",
        "S10/amusement_1_01": "amusement",
        "S10/meditation_1_01": "calm",
        "S10/meditation_2_01": "calm",
    }
    assert [ABAW8.class_of(emotion) for emotion in ("neutral", "stress", "amusement", "calm")] == [
        "neutral",
        "other",
        "happiness",
        "neutral",
    ]
    clip = found["S10/meditation_2_01"]
    assert clip.subject_id == "wesad/S10"
    assert clip.groups == {"condition": "meditation", "fold": "S10", "gender": "male"}


def test_every_channel_keeps_its_rate_and_its_place_on_the_clock(corpus: Path) -> None:
    stress = by_name(scan(corpus))["S2/stress_1_01"]  # from 14 s of the recording on, for 10 s
    assert stress.physio_path is not None
    series = read_physio(corpus.parent / stress.physio_path, MediaLimits(), where="a")
    chest = dict.fromkeys(("acc_x", "acc_y", "acc_z", "ecg", "emg", "eda", "temp", "resp"), 700)
    wrist = {f"wrist_acc_{axis}": 32 for axis in "xyz"} | {"bvp": 64, "wrist_eda": 4, "wrist_temp": 4}
    assert {name: times.size for name, (times, _) in series.items()} == {
        name: rate_hz * 10 for name, rate_hz in (chest | wrist).items()
    }
    for name, (times_s, values) in series.items():
        # A signal of the fixture tells its own time: seconds of the recording, plus 100 for the wrist.
        own_s = values - (100 if name in wrist else 0) - 14
        assert np.abs(own_s - times_s).max() < 1e-5, name


def test_a_stretch_is_cut_into_parts_of_about_the_window_and_nothing_is_lost(corpus: Path) -> None:
    labels = np.repeat(np.array([1, 0, 1]), [700 * 165, 700, 700 * 20])
    parts = pieces_of(labels, 60.0)
    assert [piece.name for piece in parts] == ["baseline_1_01", "baseline_1_02", "baseline_1_03", "baseline_2_01"]
    assert [(piece.first, piece.last) for piece in parts] == [
        (0, 38500),
        (38500, 77000),
        (77000, 115500),
        (116200, 130200),
    ]
    assert [piece.name for piece in pieces_of(labels, None)] == ["baseline_1_01", "baseline_2_01"]
    found = scan(corpus, window_s=5)
    assert sorted(by_name(found)) == ["S2/baseline_1_01", "S2/baseline_1_02", "S2/stress_1_01", "S2/stress_1_02"]


@pytest.mark.parametrize(
    ("device", "columns"),
    [
        ("chest", ["acc_x", "acc_y", "acc_z", "ecg", "eda", "emg", "resp", "temp"]),
        ("wrist", ["acc_x", "acc_y", "acc_z", "bvp", "eda", "temp"]),
    ],
)
def test_one_device_alone_has_plain_names(corpus: Path, device: str, columns: list[str]) -> None:
    for clip in scan(corpus, device=device).clips:
        assert clip.physio_path is not None
        assert pq.read_schema(corpus.parent / clip.physio_path).names == ["time_s", *columns]


def test_conditions_can_be_left_out_and_their_files_stay(corpus: Path) -> None:
    everything = scan(corpus)
    some = scan(corpus, conditions=("baseline",))
    assert sorted(by_name(some)) == ["S2/baseline_1_01"]
    assert all((corpus.parent / str(clip.physio_path)).is_file() for clip in everything.clips)


def test_a_second_scan_reads_no_recording_and_writes_nothing(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scan(corpus)
    media = Layout(corpus.parent).dataset("wesad") / "media"
    before = tree_sha256(media)
    read: list[Path] = []
    really = wesad.read_tree
    monkeypatch.setattr(wesad, "read_tree", lambda path: (read.append(path), really(path))[1])
    assert scan(corpus).clips == first.clips
    assert read == []
    file = corpus.parent / str(first.clips[0].physio_path)
    file.unlink()
    (media / "stray.parquet").write_bytes(b"of an earlier corpus")
    assert scan(corpus).clips == first.clips
    assert read == [corpus / "S2" / "S2.pkl"]
    assert tree_sha256(media) == before


def test_another_recording_or_window_has_files_of_its_own_and_the_old_ones_go(corpus: Path) -> None:
    before = {clip.physio_path for clip in scan(corpus).clips}
    changed = {clip.physio_path for clip in scan(corpus, window_s=5).clips}
    assert not before & changed
    assert not any((corpus.parent / str(path)).exists() for path in before)
    assert {clip.physio_path for clip in scan(corpus).clips} == before


def test_what_is_no_recording_is_set_aside_and_a_hostile_one_runs_nothing(corpus: Path) -> None:
    marker = corpus / "ran"

    class Runs:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {marker}",)

    whole = recording("S3")
    short = {**whole, "signal": {**whole["signal"], "wrist": {**whole["signal"]["wrist"], "BVP": np.zeros((64, 1))}}}
    narrow = {**whole, "signal": {**whole["signal"], "chest": {**whole["signal"]["chest"], "ACC": np.zeros((7, 2))}}}
    cases = {
        "S3": (pickle.dumps({**whole, "label": Runs()}, protocol=2), "unsafe-pickle"),
        "S4": (python2_pickle(whole), "bad-recording"),  # it says that it is S3's
        "S5": (python2_pickle({**short, "subject": "S5"}), "bad-recording"),
        "S6": (python2_pickle({**narrow, "subject": "S6"}), "bad-recording"),
        "S7": (python2_pickle({**whole, "subject": "S7", "label": whole["label"] + 7}), "bad-recording"),
        "S8": (python2_pickle({"subject": "S8", "label": whole["label"]}), "bad-recording"),
        "S9": (python2_pickle(whole)[:5000], "bad-pickle"),
    }
    for subject, (data, _) in cases.items():
        (corpus / subject).mkdir()
        (corpus / subject / f"{subject}.pkl").write_bytes(data)
    (corpus / "S11").mkdir()
    (corpus / "S2" / "S2.pkl").rename(corpus / "S11" / "S2.pkl")
    write_subject(corpus, "S13", conditions=((1, 6.0),))
    found = scan(corpus)
    refused = {row.path: row.code for row in found.quarantined}
    assert refused == {f"corpus/{subject}/{subject}.pkl": code for subject, (_, code) in cases.items()} | {
        "corpus/S11/S2.pkl": "bad-name"
    }
    assert not marker.exists()
    assert all(str(corpus) not in row.message for row in found.quarantined)
    assert sorted(by_name(found)) == ["S13/baseline_1_01"]
