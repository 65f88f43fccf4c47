from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from components.alignment.guard import Guard
from components.alignment.lent import NODE_PREFIX, LentMedia, lend_media
from components.alignment.outcome import packed, quarantined_of, refused
from components.alignment.partial import Partial
from components.alignment.refused import Refusals
from components.alignment.stage import AlignBatch, _asked_for, named_as, receipt_of
from components.contracts.errors import DataError, MediaError
from components.contracts.readmitted import Decisions
from components.contracts.records import Clip, GivenFeatures
from components.datasets.staged import Staging
from tests.alignment.media import tone, wav
from tests.alignment.test_stage import NAME, PARAMS, clip_of
from tests.builders import make_clip
from tests.datasets.objects import BUCKET, Bucket, object_store


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    with object_store(monkeypatch) as store:
        yield store


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_actor_has_the_media_of_one_clip_where_only_the_project_has_them(bucket: Bucket, tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for path, content in {
        root / "media" / "a.wav": b"sound",
        root / "stills" / "0.png": b"picture",
        root / "stills" / "deep" / "1.png": b"another",
        root / "features" / "a.npy": b"array",
        elsewhere / "b.mp4": b"film",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    bucket.put("corpus/c.wav", b"in a corpus of the store")
    clips = [
        replace(
            make_clip("a", audio_path="media/a.wav", pictures_path="stills"),
            given=(GivenFeatures(modality="gaze", path="features/a.npy", key="gaze"),),
        ),
        make_clip("b", video_path=str(elsewhere / "b.mp4")),
        make_clip("c", audio_path=f".mer/remote/s3/{BUCKET}/corpus/c.wav"),
        make_clip("d", audio_path="media/none.wav"),
    ]
    staging = Staging.of(tmp_path / "partial", store=f"s3://{BUCKET}/moods", stage="alignment", name="tiny")
    lent = lend_media(clips, root, staging)
    assert [len(lent[clip.clip_id]) for clip in clips] == [4, 1, 0, 0]
    root.rename(tmp_path / "away")
    elsewhere.rename(tmp_path / "away too")
    media = LentMedia()
    here = [media.bring(clips[0], lent[clips[0].clip_id])]
    assert here == clips[:1]
    assert files(media.root) == {
        "media/a.wav": b"sound",
        "stills/0.png": b"picture",
        "stills/deep/1.png": b"another",
        "features/a.npy": b"array",
    }
    film = media.bring(clips[1], lent[clips[1].clip_id])
    assert film.video_path == f"absolute{elsewhere}/b.mp4"
    assert files(media.root) == {film.video_path: b"film"}
    bucket.clear()  # what is there already is not fetched again
    assert media.bring(clips[1], lent[clips[1].clip_id]) == film
    assert media.bring(clips[3], {}) == clips[3]
    assert files(media.root) == {}
    with pytest.raises(DataError, match="object store"):
        media.bring(clips[0], lent[clips[0].clip_id])


def test_media_of_a_corpus_in_a_store_are_fetched_by_the_actor_itself(bucket: Bucket) -> None:
    bucket.put("corpus/c.wav", b"in a corpus of the store")
    clip = make_clip("c", audio_path=f".mer/remote/s3/{BUCKET}/corpus/c.wav")
    media = LentMedia()
    assert media.bring(clip, {}) == clip
    assert list(files(media.root).values()) == [b"in a corpus of the store"]


@pytest.mark.usefixtures("bucket")
def test_the_folder_of_an_actor_that_was_killed_goes(tmp_path: Path) -> None:
    (node,) = [LentMedia().root.parent]
    gone = node / f"{NODE_PREFIX}{2**22 + 1}"  # more than any process has
    gone.mkdir()
    assert LentMedia().root.exists()
    assert not gone.exists()
    assert node.is_relative_to(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
def test_an_actor_without_the_project_writes_what_the_project_would(tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "media").mkdir(parents=True)
    clips = [clip_of(root, wav(root / "media" / f"{k}.wav", tone(0.5, 16_000, hz=200 + k))) for k in range(2)]
    (root / "media" / "broken.mp4").write_text("no media\n" * 20)
    clips.append(clip_of(root, root / "media" / "broken.mp4"))
    with Guard(PARAMS.alignment, root) as guard:
        expected = [guard.result(clip) for clip in clips]
    staging = Staging.of(tmp_path / "partial", store=f"s3://{BUCKET}/moods", stage="alignment", name=NAME)
    refusals = Refusals(tmp_path / "aligned", PARAMS.alignment, Decisions())
    media = lend_media(clips, root, staging)
    batch = pa.table({"clips": [[_asked_for(clip, refusals, media) for clip in clips]]})
    root.rename(tmp_path / "away")
    rows = [row for table in AlignBatch(PARAMS.alignment, str(root), staging)(batch) for row in table.to_pylist()]
    assert not staging.folder.exists()
    staging.prepare()
    staging.bring()
    partial = Partial(staging.folder, refusals.asking)
    for clip, row, result in zip(clips, rows, expected, strict=True):
        receipt = receipt_of(row)
        assert receipt.clip_id == clip.clip_id
        assert partial.note(clip, receipt) == replace(result, row=None)
        if result.row is not None:
            assert packed(replace(result, row=partial.row(clip.clip_id))) == packed(result)  # byte by byte
    assert [result.row is None for result in expected] == [False, False, True]


def test_a_refusal_names_the_path_that_the_clip_has() -> None:
    clip = make_clip("b", video_path="/elsewhere/b.mp4")
    here = replace(clip, video_path="absolute/elsewhere/b.mp4")
    fields = packed(refused(here, MediaError("no", where="b")))
    assert path_of(fields) == here.video_path
    assert path_of(named_as(clip, here, fields)) == clip.video_path
    assert named_as(clip, here, {**fields, "quarantined": None})["quarantined"] is None


def path_of(fields: dict[str, str | None]) -> str | None:
    refusal = quarantined_of(fields["quarantined"])
    assert refusal is not None
    return refusal.path


def test_without_a_store_nothing_is_lent(tmp_path: Path) -> None:
    clip: Clip = make_clip("a", audio_path="media/a.wav")
    assert lend_media([clip], tmp_path, Staging(folder=tmp_path)) == {}
