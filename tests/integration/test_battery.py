"""The battery: broken and hostile files among good ones, through the real stages.

Every bad one ends with its own reason or is handled as expected, the good ones do not notice, and memory and time stay
within the limits.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from components.alignment import stage as alignment
from components.alignment.shards import rows_of as rows_of_shards
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.contracts.records import clips_of
from components.features import stage as features
from components.features.store import FeatureStore
from pipelines.stages import call_stage
from tests.alignment.containers import KINDS, valid, write
from tests.integration import bad_media, bad_tables
from tests.integration.bad_media import CASES, write_all

for family in ("boxes", "sound", "pictures", "times", "names"):
    importlib.import_module(f"tests.integration.bad_media_{family}")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

GOOD = 24
EMOTIONS = ("anger", "happiness", "sadness")
MAX_WORK_S = 10.0
MAX_MEMORY_MB = 1000
# What the process that aligns holds before its first clip: interpreter, libraries, their pages on disk.
IDLE_MB = 700
MIB = 1 << 20
NOBODY = 65534
LIMITS = {
    "max_bytes": 50_000_000,
    "max_duration_s": 60.0,
    "max_decoded_frames": 2000,
    "max_work_s": MAX_WORK_S,
    "max_memory_mb": MAX_MEMORY_MB,
}
TERMS = {"licence": "CC0", "consent": "in writing"}
PARAMS = Params.model_validate(
    {
        "datasets": ["folder", "manifest"],
        "sources": {
            "folder": {"root": "corpus", **TERMS},
            "manifest": {"table": f"rows/{bad_tables.TABLE}", **TERMS},
            "feature_table": {"root": "arrays", **TERMS, "rates": {"face_au": 10}},
        },
        "alignment": {"face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}, "limits": LIMITS},
        "features": {"encoders": {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}},
    }
)
DATASETS = ("folder", "manifest")


def write_good(corpus: Path) -> None:
    """Recordings in every container."""
    kinds = [*KINDS, *[".mp4"] * GOOD][:GOOD]
    for k, kind in enumerate(kinds):
        place = corpus / EMOTIONS[k % 3] / f"p{k % 4}"
        place.mkdir(parents=True, exist_ok=True)
        write(place / f"good-{k:02d}{kind}", seed=k)


def run_stages(layout: Layout) -> None:
    for name in DATASETS:
        call_stage("datasets", PARAMS, layout, name)
        call_stage("alignment", PARAMS, layout, name)
        call_stage("features", PARAMS, layout, name)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: containers with random ids and encoders with threads give other bytes the second time."""
    folder = tmp_path_factory.mktemp("good")
    write_good(folder)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, good: Path) -> Layout:
    """Good recordings only, aligned and encoded in this process."""
    layout = Layout(tmp_path_factory.mktemp("clean"))
    shutil.copytree(good, layout.root / "corpus")
    bad_tables.write_manifest(layout.root / "rows", bad=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "IN_PROCESS_CLIPS", 1000)
        patch.setattr(features, "IN_PROCESS_CLIPS", 1000)
        run_stages(layout)
    return layout


class Watch(threading.Thread):
    """The most memory that any process that aligns clips has held, MiB; how many of them there were."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb: dict[int, float] = {}
        self._done = threading.Event()

    def run(self) -> None:
        known: dict[int, bool] = {}
        while not self._done.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                try:
                    if known.setdefault(process.pid, "alignment.guard" in " ".join(process.cmdline())):
                        held = process.memory_info().rss / MIB
                        self.peak_mb[process.pid] = max(held, self.peak_mb.get(process.pid, 0.0))
                except psutil.Error:
                    continue

    def stop(self) -> None:
        self._done.set()
        self.join()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, good: Path, ray_session: None) -> tuple[Layout, Watch]:
    """The same recordings among all the bad ones, aligned and encoded by Ray's actors."""
    layout = Layout(tmp_path_factory.mktemp("mixed") / "project")
    shutil.copytree(good, layout.root / "corpus")
    write_all(layout.root / "corpus")
    bad_tables.write_manifest(layout.root / "rows", bad=True)
    watch = Watch()
    watch.start()
    run_stages(layout)
    watch.stop()
    return layout, watch


def quarantined(layout: Layout, name: str) -> dict[str, tuple[str, str]]:
    """Clip without its dataset → stage and code."""
    folders = (layout.dataset(name), layout.aligned(name))
    rows = [row for folder in folders for row in pq.read_table(folder / "quarantine.parquet").to_pylist()]
    told = {row["clip_id"].partition("/")[2]: (row["stage"], row["code"]) for row in rows}
    assert len(told) == len(rows)
    for row in rows:
        assert row["message"], row
        assert row["remedy"], row
        assert str(layout.root) not in str(row)
    return told


def notes(layout: Layout, name: str) -> dict[str, list[str]]:
    rows = pq.read_table(layout.aligned(name) / "quality.parquet").to_pylist()
    return {row["clip_id"].partition("/")[2]: row["notes"] for row in rows if row["passed"]}


def aligned_rows(layout: Layout, name: str) -> dict[str, str]:
    """Clip → its whole row, every crop and sample of it; as text, in which NaN equals NaN."""
    return {row["clip_id"][0].as_py(): repr(row.to_pylist()) for row in rows_of_shards(layout.aligned(name))}


def printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def test_the_battery_is_large() -> None:
    assert len(CASES) + len(bad_tables.ROWS) + len(bad_tables.PHYSIO) + len(bad_tables.ARRAYS) >= 250
    assert sum(case.stage != "" for case in CASES) >= 60


def test_every_bad_file_has_its_own_reason(mixed: tuple[Layout, Watch]) -> None:
    told = quarantined(mixed[0], "folder")
    wanted = {printable(case.name.removeprefix("./")): (case.stage, case.expected) for case in CASES if case.stage}
    assert {name: told.get(name) for name in wanted} == wanted
    assert told.keys() == wanted.keys()


def test_what_can_be_used_is_used_and_says_what_is_wrong(mixed: tuple[Layout, Watch]) -> None:
    said = notes(mixed[0], "folder")
    for case in CASES:
        if case.clip is not None:
            assert case.clip in said, case.name
            told = said[case.clip]
            assert not case.expected or any(case.expected in note for note in told), (case.name, told)
    assert not [clip for clip in said if Path(clip).name.startswith(".")]


def test_every_bad_row_and_table_has_its_own_reason(mixed: tuple[Layout, Watch]) -> None:
    assert quarantined(mixed[0], "manifest") == bad_tables.expected()
    good = {f"good-{k:02d}" for k in range(bad_tables.GOOD)}
    assert notes(mixed[0], "manifest").keys() == good | bad_tables.used_rows()


@pytest.mark.parametrize("name", DATASETS)
def test_good_clips_do_not_notice_their_neighbours(clean: Layout, mixed: tuple[Layout, Watch], name: str) -> None:
    alone, among = aligned_rows(clean, name), aligned_rows(mixed[0], name)
    assert len(alone) == (GOOD if name == "folder" else bad_tables.GOOD)
    for clip_id, row in alone.items():
        assert among[clip_id] == row, clip_id


@pytest.mark.parametrize("name", DATASETS)
def test_features_of_good_clips_are_the_same(clean: Layout, mixed: tuple[Layout, Watch], name: str) -> None:
    indices = [
        {row["clip_id"]: row for row in pq.read_table(layout.features(name) / "index.parquet").to_pylist()}
        for layout in (clean, mixed[0])
    ]
    stores = [FeatureStore(layout.features(name)) for layout in (clean, mixed[0])]
    keys = 0
    for clip_id, row in indices[0].items():
        assert indices[1][clip_id] == row
        for modality, key in row["keys"]:
            first, second = (store.read(modality, [key])[key] for store in stores)
            assert first.values.tobytes() == second.values.tobytes()
            assert first.valid.tobytes() == second.valid.tobytes()
            keys += 1
    assert keys >= len(indices[0])


def test_memory_and_time_stay_within_the_limits(mixed: tuple[Layout, Watch]) -> None:
    layout, watch = mixed
    assert watch.peak_mb
    assert max(watch.peak_mb.values()) <= MAX_MEMORY_MB + IDLE_MB, watch.peak_mb
    # A file of minutes of work was given up, which is how it is known that the others took less each.
    assert [name for name, (_, code) in quarantined(layout, "folder").items() if code == "too-slow"] == [
        f"{bad_media.PLACE}/minutes-of-work.mov"
    ]


def test_nothing_opened_what_a_list_names(mixed: tuple[Layout, Watch]) -> None:
    """Whatever a playlist, a script or a data reference says, the rows hold the bytes of their own file alone."""
    clips = {clip.clip_id: clip for clip in clips_of(pq.read_table(mixed[0].dataset("folder") / "clips.parquet"))}
    twins = [clips[f"folder/{bad_media.PLACE}/twin-{k}.mp4"] for k in (1, 2)]
    assert twins[0].content_sha256 == twins[1].content_sha256
    rows = aligned_rows(mixed[0], "folder")
    alike = [rows[clip.clip_id].replace(clip.clip_id, "") for clip in twins]
    assert alike[0] == alike[1]


def test_a_file_that_may_not_be_read_says_so() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user who may not read a file of its own tests")
    with tempfile.TemporaryDirectory() as place:
        layout = Layout(Path(place) / "project")
        for name in ("open.wav", "shut.wav"):
            path = layout.root / "corpus" / "anger" / "p1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(valid(".wav"))
        path.chmod(0)
        for found in (Path(place), *Path(place).rglob("*")):
            if found != path:
                found.chmod(0o777)
        os.seteuid(NOBODY)
        try:
            call_stage("datasets", PARAMS, layout, "folder")
        finally:
            os.seteuid(0)
        rows = pq.read_table(layout.dataset("folder") / "quarantine.parquet").to_pylist()
        assert [(row["clip_id"], row["code"], row["seen"]) for row in rows] == [
            ("folder/anger/p1/shut.wav", "unreadable", "Permission denied")
        ]


def test_every_bad_array_is_set_aside_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    folder = tmp_path / "arrays"
    folder.mkdir()
    good = [f"good-{k}" for k in range(4)]

    def array(k: int) -> np.ndarray[Any, Any]:
        return np.full((20, 4), k)

    lines = [f"{name},p{k % 3},anger" for k, name in enumerate([*good, *bad_tables.ARRAYS])]
    (folder / "clips.csv").write_text("\n".join(["clip_id,subject_id,label", *lines]) + "\n")
    bad_tables.write_arrays(folder / "face_au.npz", array, good)
    before = psutil.Process().memory_info().rss
    call_stage("datasets", PARAMS, layout, "feature_table")
    assert psutil.Process().memory_info().rss - before < MAX_MEMORY_MB * MIB
    rows = pq.read_table(layout.dataset("feature_table") / "quarantine.parquet").to_pylist()
    told = {row["clip_id"].partition("/")[2]: row["code"] for row in rows if row["field"] == "face_au"}
    assert told == {name: code for name, (_, code) in bad_tables.ARRAYS.items()}
    clips = clips_of(pq.read_table(layout.dataset("feature_table") / "clips.parquet"))
    assert [clip.clip_id.partition("/")[2] for clip in clips] == good
