from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.layout import Layout
from components.datasets.content import path_key
from pipelines.commands.withdrawal.forget import Forgetting
from pipelines.commands.withdrawal.trace import Trace

ANN = Trace(
    dataset="tiny",
    subject_id="tiny/ann",
    clip_ids=frozenset({"tiny/a1", "tiny/ä<2>"}),
    keys=frozenset({"1" * 64}),
    media=frozenset({"data/datasets/tiny/media/a1.mp4", "/elsewhere/a2.mp4"}),
)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def forget(layout: Layout, *, cache: Path | None = None, mlflow: tuple[Path, ...] = ()) -> dict[str, str]:
    """Makes the changes; file below the project → description of its change."""
    changes = Forgetting(ANN, layout, cache=cache, mlflow=mlflow).run()
    return {change.path.relative_to(layout.root).as_posix(): change.what for change in changes}


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "tiny/a1",
        '["tiny/\\u00e4<2>"]',
        '{"m": "[\\"tiny/\\\\u00e4<2>\\"]"}',
        "<td>tiny/ä&lt;2&gt;</td>",
        "/elsewhere/a2.mp4",
    ],
)
def test_a_cache_that_names_them_is_removed_in_any_notation(layout: Layout, text: str) -> None:
    put(layout.state / "pages" / "theirs", b"\xff\x00" + text.encode())
    put(layout.state / "pages" / "others", b"tiny/b1 tiny/annabel")
    assert forget(layout) == {".mer/pages/theirs": "removed"}
    assert (layout.state / "pages" / "others").exists()
    assert forget(layout) == {}


def test_a_name_is_found_across_the_pieces_of_a_large_file(layout: Layout) -> None:
    put(layout.state / "large", b"\0" * ((4 << 20) - 3) + b"tiny/a1" + b"\0" * 100)
    assert forget(layout) == {".mer/large": "removed"}


def test_a_table_loses_their_rows_by_clip_by_person_and_by_key(layout: Layout) -> None:
    folder = layout.dataset("tiny")
    clips = pa.table({"clip_id": ["tiny/a1", "tiny/b1"], "subject_id": ["tiny/ann", "tiny/bo"], "n": [1, 2]})
    write_table(folder / "clips.parquet", clips)
    write_table(folder / "people.parquet", pa.table({"subject_id": ["tiny/annabel", "tiny/ann"]}))
    write_table(folder / "keys.parquet", pa.table({"key": ["1" * 64, "2" * 64]}))
    write_table(folder / "numbers.parquet", pa.table({"key": [1, 2]}))
    assert set(forget(layout).values()) == {"1 rows removed"}
    assert pq.read_table(folder / "clips.parquet").to_pylist() == [
        {"clip_id": "tiny/b1", "subject_id": "tiny/bo", "n": 2}
    ]
    assert pq.read_table(folder / "clips.parquet").schema == clips.schema
    assert pq.read_table(folder / "people.parquet").to_pylist() == [{"subject_id": "tiny/annabel"}]
    assert pq.read_table(folder / "keys.parquet").num_rows == 1
    assert pq.read_table(folder / "numbers.parquet").num_rows == 2


def test_folders_that_are_removed_as_a_whole(layout: Layout) -> None:
    put(layout.state / "bundles" / "one" / "golden.json", b'["tiny/a1"]')
    put(layout.state / "bundles" / "one" / "model.safetensors", b"weights")
    put(layout.state / "bundles" / "two" / "golden.json", b'["tiny/b1"]')
    put(layout.state / "train" / "unfinished" / "state", b"weights")
    assert forget(layout) == {".mer/bundles/one": "removed"}
    # A training depends on the catalog.
    put(layout.catalog / "catalog.json", b'["tiny/a1"]')
    put(layout.catalog / "other.json", b"{}")
    assert forget(layout) == {".mer/train/unfinished": "removed", "data/catalog": "removed"}


def test_rendered_media_go_with_their_copies_and_the_corpus_is_not_touched(layout: Layout, tmp_path: Path) -> None:
    own = put(layout.root / "data/datasets/tiny/media/a1.mp4", b"pictures")
    other = put(layout.root / "data/datasets/tiny/media/b1.mp4", b"other pictures")
    digest = hashlib.md5(b"pictures").hexdigest()
    copy = put(tmp_path / "cache" / "files" / "md5" / digest[:2] / digest[2:], b"pictures")
    foreign = put(tmp_path / "corpus" / "a2.mp4", b"tiny/a1")
    forget(layout, cache=tmp_path / "cache")
    assert not own.exists()
    assert not copy.exists()
    assert other.exists()
    assert foreign.exists()


def test_file_hashes_of_others_stay(layout: Layout) -> None:
    hashes = layout.state / "hashes" / "tiny.json"
    own = str(layout.root / "data/datasets/tiny/media/a1.mp4")
    others = {path_key(Path("/elsewhere/b1.mp4")): [1, 2, "z"]}
    write_json(hashes, {path_key(Path(path)): [1, 2, "x"] for path in (own, "/elsewhere/a2.mp4")} | others)
    write_json(layout.state / "hashes" / "tiny-inputs.json", others)
    assert forget(layout) == {".mer/hashes/tiny.json": "entries removed"}
    assert read_json(hashes) == others


def test_mlflows_files_are_listed_and_left_alone(layout: Layout) -> None:
    database = put(layout.state / "mlflow.db", b"tiny/a1")
    journal = put(layout.state / "mlflow.db-wal", b"tiny/a1")
    report = put(layout.state / "mlartifacts" / "1" / "report.html", b"tiny/a1")
    mlflow = (database, layout.state / "mlartifacts")
    assert Forgetting(ANN, layout, cache=None, mlflow=mlflow).in_mlflow() == [database, report]
    assert forget(layout, mlflow=mlflow) == {}
    assert all(path.exists() for path in (database, journal, report))


def test_a_damaged_table_is_no_obstacle(layout: Layout) -> None:
    put(layout.dataset("tiny") / "clips.parquet", b"PAR1 and then nothing")
    assert forget(layout) == {}
