"""What people feed it by mistake, through the real stages and the real command: one bad file costs itself and nothing
else, everything is accounted for, every message says which file and what to do, and every exit code holds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import soundfile
import yaml

from components.alignment.shards import clips_of
from components.alignment.shards import rows_of as rows_of_shards
from components.contracts.layout import Layout
from components.contracts.records import clips_of as rows_of
from components.features.store import FeatureStore
from pipelines.stages import call_stage
from tests.alignment.media import grey, tone, write_clip
from tests.datasets.test_add_a_dataset import COPIED, titled
from tests.integration.corpora import mer, mer_here, params_of, project, record
from tests.trees import tree_sha256
from tests.walkthrough import copy_project, passes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NAME = "ravdess"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WAV_HEADER_BYTES = 44
GOOD = (
    "01-01-03-01-01-01-01.mp4",
    "02-01-04-01-01-01-01.mp4",  # without sound
    "03-01-05-01-01-01-02.wav",  # without picture
    "01-01-06-01-01-01-02.mp4",  # without a face
)
CUT_SHORT = "01-01-07-01-01-01-02.mp4"  # used as far as it goes
# File below the corpus → the stage that refuses it, and its code.
BAD = {
    "Actor_03/01-01-01-01-01-01-03.mp4": ("datasets", "empty-file"),
    "Actor_03/01-01-02-01-01-01-03.mp4": ("datasets", "lfs-pointer"),
    "Actor_03/01-01-03-01-01-01-03.mp4": ("datasets", "not-media"),  # text
    "Actor_03/03-01-04-01-01-01-03.wav": ("datasets", "not-media"),  # a page of HTML
    "Actor_03/01-01-05-01-01-01-03.mp4": ("datasets", "truncated"),  # before its index
    "Actor_03/01-01-06-01-01-01-03.mp4": ("datasets", "missing-file"),  # a link to nothing
    "Actor_03/holiday.mp4": ("datasets", "bad-name"),
    "Actor_03/01-01-09-01-01-01-03.mp4": ("datasets", "bad-name"),  # an emotion that does not exist
    "again/01-01-03-01-01-01-01.mp4": ("datasets", "duplicate-id"),
    "Actor_03/01-01-07-01-01-01-03.mp4": ("alignment", "truncated"),  # right after its index
    "Actor_03/03-01-08-01-01-01-03.wav": ("alignment", "not-media"),  # a header and no samples
    "Actor_03/03-01-01-01-02-01-03.flac": ("alignment", "not-media"),  # a magic number and noise
}


def write_good(corpus: Path) -> None:
    for name in GOOD:
        record(corpus, name, face=name != GOOD[3])


def write_bad(corpus: Path) -> None:
    """What `BAD` lists, and a clip that was cut in its middle."""
    third, again = corpus / "Actor_03", corpus / "again"
    third.mkdir()
    again.mkdir()
    (third / "01-01-01-01-01-01-03.mp4").touch()
    (third / "01-01-02-01-01-01-03.mp4").write_bytes(LFS)
    (third / "01-01-03-01-01-01-03.mp4").write_text("see the folder upstairs\n")
    (third / "03-01-04-01-01-01-03.wav").write_text("<html>You need to log in</html>")
    cut(record(corpus, "01-01-05-01-01-01-03.mp4"), share=0.5)
    (third / "01-01-06-01-01-01-03.mp4").symlink_to("../.git/annex/objects/none")
    (third / "holiday.mp4").write_bytes((corpus / "Actor_01" / GOOD[0]).read_bytes())
    (third / "01-01-09-01-01-01-03.mp4").write_bytes((corpus / "Actor_01" / GOOD[0]).read_bytes())
    (again / GOOD[0]).write_bytes((corpus / "Actor_01" / GOOD[0]).read_bytes())
    after_index = record(corpus, "01-01-07-01-01-01-03.mp4", faststart=True)
    after_index.write_bytes(after_index.read_bytes().partition(b"mdat")[0] + b"mdat")
    header = record(corpus, "03-01-08-01-01-01-03.wav")
    header.write_bytes(header.read_bytes()[:WAV_HEADER_BYTES])
    (third / "03-01-01-01-02-01-03.flac").write_bytes(b"fLaC" + bytes(range(256)) * 8)
    cut(record(corpus, CUT_SHORT, faststart=True, seconds=3.0), share=0.6)


def cut(path: Path, *, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def here(layout: Layout) -> None:
    """The first two stages in this process."""
    for stage in ("datasets", "alignment"):
        call_stage(stage, params_of(layout), layout, NAME)


def ran(layout: Layout, stage: str) -> None:
    """A stage by its command, in a process of its own."""
    done = mer(layout, stage, "--dataset", NAME)
    assert done.returncode == 0, done.stderr
    assert f"{stage}@{NAME}: " in done.stderr


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project with the good files only, after its first two stages."""
    layout = project(tmp_path_factory.mktemp("clean") / "project")
    write_good(layout.root / "corpus")
    here(layout)
    return layout


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project with the same files among bad ones, after its first two stages."""
    layout = project(tmp_path_factory.mktemp("mixed") / "project")
    write_good(layout.root / "corpus")
    write_bad(layout.root / "corpus")
    ran(layout, "datasets")
    ran(layout, "alignment")
    return layout


def aligned_rows(layout: Layout, name: str = NAME) -> dict[str, str]:
    """Clip id → its whole row, every crop and sample of it; as text, in which NaN equals NaN."""
    return {row["clip_id"][0].as_py(): repr(row.to_pylist()) for row in rows_of_shards(layout.aligned(name))}


def quarantined(layout: Layout, name: str = NAME) -> list[dict[str, Any]]:
    folders = (layout.dataset(name), layout.aligned(name))
    return [row for folder in folders for row in pq.read_table(folder / "quarantine.parquet").to_pylist()]


def test_each_bad_file_is_set_aside_with_its_reason_and_a_remedy(mixed: Layout) -> None:
    rows = {row["path"].removeprefix("corpus/"): row for row in quarantined(mixed)}
    assert {path: (row["stage"], row["code"]) for path, row in rows.items()} == BAD
    for path, row in rows.items():
        assert Path(path).stem in row["message"], row
        assert row["remedy"], row
        assert str(mixed.root) not in json.dumps(row)


def test_nothing_is_lost(mixed: Layout) -> None:
    files = {
        path.relative_to(mixed.root).as_posix() for path in (mixed.root / "corpus").rglob("*.*") if not path.is_dir()
    }
    clips = {clip.clip_id: clip for clip in rows_of(pq.read_table(mixed.dataset(NAME) / "clips.parquet"))}
    used = {clips[clip_id].video_path or clips[clip_id].audio_path for clip_id in aligned_rows(mixed)}
    refused = [row["path"] for row in quarantined(mixed)]
    assert sorted([*used, *refused]) == sorted(files)
    assert len(used) == len(GOOD) + 1


def test_good_clips_do_not_notice_their_neighbours(clean: Layout, mixed: Layout) -> None:
    alone, among = aligned_rows(clean), aligned_rows(mixed)
    assert len(alone) == len(GOOD)
    assert set(among) - set(alone) == {f"ravdess/{Path(CUT_SHORT).stem}"}
    for clip_id, row in alone.items():
        assert among[clip_id] == row, clip_id


def test_features_of_good_clips_are_the_same(clean: Layout, mixed: Layout) -> None:
    indices = []
    for layout in (clean, mixed):
        assert call_stage("features", params_of(layout), layout, NAME)["quarantined"] == 0
        rows = pq.read_table(layout.features(NAME) / "index.parquet").to_pylist()
        indices.append({row["clip_id"]: row for row in rows})
    alone, among = indices
    stores = [FeatureStore(layout.features(NAME)) for layout in (clean, mixed)]
    for clip_id, row in alone.items():
        assert among[clip_id] == row
        for modality, key in row["keys"]:
            first, second = (store.read(modality, [key])[key] for store in stores)
            assert first.values.tobytes() == second.values.tobytes()
            assert first.valid.tobytes() == second.valid.tobytes()


def test_what_is_missing_is_masked_and_what_is_cut_is_used(mixed: Layout) -> None:
    clips = {clip.clip_id.removeprefix("ravdess/"): clip for clip in clips_of(mixed.aligned(NAME))}
    whole, silent, heard, faceless = (clips[Path(name).stem] for name in GOOD)
    assert whole.masks["face"].any()
    assert whole.masks["voice"].any()
    assert silent.masks["face"].any()
    assert not silent.masks["voice"].any()
    assert "no sound" in silent.quality.notes
    assert not heard.masks["face"].any()
    assert "sound only" in heard.quality.notes
    assert faceless.masks["voice"].any()
    assert not faceless.masks["face"].any()
    assert "no face found" in faceless.quality.notes
    short = clips[Path(CUT_SHORT).stem]
    assert 0.5 < short.quality.duration_s < 2.5
    assert any("ended early" in note for note in short.quality.notes)


def test_the_list_says_for_each_file_why_and_what_to_do(mixed: Layout) -> None:
    done = mer_here(mixed, "quarantine", "list")
    assert done.returncode == 0
    entries = {entry.partition("\n")[0]: entry for entry in done.stdout.split("\nravdess/")}
    assert len(entries) == len(BAD)
    for row in quarantined(mixed):
        name = row["clip_id"].removeprefix("ravdess/")
        told = [entry for head, entry in entries.items() if f"{name}  [{row['stage']}: {row['code']}]" in head]
        assert told, row
        assert all(row["path"] in entry and row["remedy"] in entry for entry in told)
    assert done.stdout.endswith(f"{len(BAD)} set aside\n")
    machine = mer_here(mixed, "quarantine", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["code"] for line in machine] == [row["code"] for row in quarantined(mixed)]


def test_a_mended_corpus_has_no_scar(clean: Layout, tmp_path: Path) -> None:
    layout = project(tmp_path / "project")
    corpus = layout.root / "corpus"
    # Written anew a video may have other bytes: encoders share their work among threads.
    shutil.copytree(clean.root / "corpus", corpus, dirs_exist_ok=True)
    first = corpus / "Actor_01" / GOOD[0]
    whole = first.read_bytes()
    first.write_bytes(LFS)
    here(layout)
    assert len(aligned_rows(layout)) == len(GOOD) - 1
    first.write_bytes(whole)
    here(layout)
    assert quarantined(layout) == []
    assert tree_sha256(layout.aligned(NAME)) == tree_sha256(clean.aligned(NAME))


def test_links_are_followed_and_strange_names_are_named(tmp_path: Path) -> None:
    layout = project(tmp_path / "project")
    elsewhere = tmp_path / "disk2"
    record(elsewhere, "03-01-03-01-01-01-05.wav")
    corpus = layout.root / "corpus"
    record(corpus, "03-01-03-01-01-01-06.wav")
    (corpus / "Actor_05").symlink_to(elsewhere / "Actor_05")
    (corpus / "Actor_06" / "up").symlink_to(corpus)  # a circle
    (corpus / "latest").symlink_to("Actor_06")
    os.rename(record(corpus, "03-01-03-01-01-01-07.wav"), os.fsencode(corpus) + b"/Gr\xf6\xdfe.wav")
    latin = os.fsencode(corpus) + b"/M\xe4rz"
    os.mkdir(latin)
    os.rename(record(corpus, "03-01-03-01-01-01-08.wav"), latin + b"/03-01-03-01-01-01-08.wav")
    assert mer_here(layout, "inputs").returncode == 0
    ran(layout, "datasets")
    clips = rows_of(pq.read_table(layout.dataset(NAME) / "clips.parquet"))
    assert [clip.clip_id[-2:] for clip in clips] == ["05", "06"]
    rows = pq.read_table(layout.dataset(NAME) / "quarantine.parquet").to_pylist()
    assert sorted((row["code"], row["path"]) for row in rows) == [
        ("bad-name", r"corpus/Gr\udcf6\udcdfe.wav"),
        ("bad-name", r"corpus/M\udce4rz/03-01-03-01-01-01-08.wav"),
    ]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"alignmnt": {}}, ["unknown key", "alignmnt", "Did you mean 'alignment'?"]),
        ({"alignment": {"rate": 10}}, ["unknown key", "alignment.rate", "Did you mean 'rate_hz'?"]),
        ({"ravdess": {"rooot": "corpus"}}, ["ravdess", "unknown key", "Did you mean 'root'?"]),
        ({"datasets": ["ravdes"]}, ["unknown dataset", "ravdes", "Did you mean 'ravdess'?"]),
        ({"datasets": []}, ["name at least one dataset"]),
        ({"ravdess": None}, ["ravdess: root", "Field required"]),
    ],
)
def test_a_wrong_configuration_ends_with_2_and_the_nearest_name(
    params: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    layout = project(tmp_path, **params)
    done = mer_here(layout, "datasets", "--dataset", NAME)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (layout.root / "data").exists()


def test_the_process_of_a_command_ends_as_a_call_in_this_process_does(tmp_path: Path) -> None:
    layout = project(tmp_path, datasets=["ravdes"])
    process, call = mer(layout, "datasets", "--dataset", NAME), mer_here(layout, "datasets", "--dataset", NAME)
    assert process.returncode == call.returncode == 2
    assert process.stderr == call.stderr
    assert process.stdout == call.stdout


@pytest.mark.parametrize(
    ("root", "code", "words"),
    [
        ("corpsu", "no-such-folder", ["the corpus folder does not exist", "corpsu", "root:` in params.yaml"]),
        ("params.yaml", "no-such-folder", ["this is a file, not a folder"]),
        ("corpus", "empty-corpus", ["not one usable clip; 0 in quarantine", "the folder holds no clip of it"]),
        ("bad", "empty-corpus", ["not one usable clip; 1 in quarantine", "no bytes", "quarantine.parquet"]),
    ],
)
def test_a_corpus_without_clips_ends_with_3_and_says_where(
    root: str, code: str, words: list[str], tmp_path: Path
) -> None:
    layout = project(tmp_path, ravdess={"root": root})
    (layout.root / "corpus").mkdir()
    (layout.root / "bad").mkdir()
    (layout.root / "bad" / GOOD[0]).touch()
    done = mer_here(layout, "datasets", "--dataset", NAME)
    assert done.returncode == 3, done.stderr
    assert f"error ({code})" in done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (layout.dataset(NAME) / "clips.parquet").exists()


def test_a_stage_before_its_turn_ends_with_3_and_names_a_command_that_exists(tmp_path: Path) -> None:
    layout = project(tmp_path)
    record(layout.root / "corpus", GOOD[2])
    done = mer_here(layout, "alignment", "--dataset", NAME)
    assert done.returncode == 3
    remedy = done.stderr.partition("Run `mer ")[2].partition("`")[0]
    assert mer_here(layout, *remedy.split()).returncode == 0


def test_a_corpus_of_which_nothing_can_be_aligned_ends_with_4_and_says_why(tmp_path: Path) -> None:
    layout = project(tmp_path)
    header = record(layout.root / "corpus", "03-01-08-01-01-01-03.wav")
    header.write_bytes(header.read_bytes()[:WAV_HEADER_BYTES])
    here(layout)
    call_stage("features", params_of(layout), layout, NAME)
    done = mer_here(layout, "validation", "--dataset", NAME)
    assert done.returncode == 4, done.stderr
    assert "1 of 1 rows" in done.stderr
    assert "See `mer quarantine list` for the reason of each clip" in done.stderr
    assert "cannot be read as media" in mer_here(layout, "quarantine", "list").stdout


LABELS = (
    "file,mood,person\na1.wav,joyful,ann\na1.wav,down,ann\nlost.wav,plain,bo\nb1.wav,gloomy,bo\ndark.mp4,plain,bo\n"
)


@pytest.fixture(scope="module")
def moodbox(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A copy of the project with the documentation's adapter, whose label table and files do not quite agree."""
    root = tmp_path_factory.mktemp("moodbox") / "project"
    copy_project(root, COPIED)
    written = titled()
    passes(written["add"], root)
    (root / "components/datasets/corpora/moodbox.py").write_text(written["components/datasets/corpora/moodbox.py"])
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": ["moodbox"], "moodbox": {"root": "corpora/moodbox"}}))
    clips = root / "corpora" / "moodbox" / "clips"
    clips.mkdir(parents=True)
    (clips.parent / "labels.csv").write_text(LABELS)
    for number, name in enumerate(("a1", "b1", "nobody")):
        soundfile.write(clips / f"{name}.wav", tone(1.0, 16_000, hz=150 + 50 * number), 16_000)
    write_clip(clips / "dark.mp4", pictures=[grey(0)] * 25, sound=0 * tone(1.0))
    return Layout(root)


def test_labels_and_files_that_do_not_agree_are_both_kept(moodbox: Layout) -> None:
    for stage in ("datasets", "alignment"):
        done = mer(moodbox, stage, "--dataset", "moodbox", code=moodbox.root)
        assert done.returncode == 0, done.stderr
    assert list(aligned_rows(moodbox, "moodbox")) == ["moodbox/a1"]
    rows = quarantined(moodbox, "moodbox")
    table = "corpora/moodbox/labels.csv"
    assert {(row["stage"], row["code"], row["clip_id"], row["path"]) for row in rows} == {
        ("datasets", "duplicate-label", "moodbox/a1.wav", table),
        ("datasets", "label-without-clip", "moodbox/lost.wav", table),
        ("datasets", "clip-without-label", "moodbox/nobody.wav", "corpora/moodbox/clips/nobody.wav"),
        ("datasets", "unknown-emotion", "moodbox/b1", "corpora/moodbox/clips/b1.wav"),
        ("alignment", "coverage", "moodbox/dark", "corpora/moodbox/clips/dark.mp4"),
    }
    for row in rows:
        assert Path(row["clip_id"]).stem in row["message"]
        assert row["remedy"]
        assert str(moodbox.root) not in json.dumps(row)


def test_a_label_table_in_another_encoding_or_without_a_column_ends_with_3(moodbox: Layout) -> None:
    table = moodbox.root / "corpora" / "moodbox" / "labels.csv"
    try:
        table.write_bytes("file,mood,person\na1.wav,fröhlich,ann\n".encode("latin-1"))
        done = mer(moodbox, "datasets", "--dataset", "moodbox", code=moodbox.root)
        assert (done.returncode, "UTF-8" in done.stderr) == (3, True), done.stderr
        table.write_text("file,feeling,person\na1.wav,joyful,ann\n")
        done = mer(moodbox, "datasets", "--dataset", "moodbox", code=moodbox.root)
        assert (done.returncode, "no column mood" in done.stderr) == (3, True), done.stderr
        table.unlink()
        done = mer(moodbox, "datasets", "--dataset", "moodbox", code=moodbox.root)
        assert (done.returncode, "labels.csv" in done.stderr) == (3, True), done.stderr
    finally:
        table.write_text(LABELS)
