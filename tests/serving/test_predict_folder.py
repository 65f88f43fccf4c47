"""`mer predict --out`: many clips, each answered once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.contracts.errors import ConfigError, DataError
from components.serving.answers import forms
from components.serving.answers.schemas import Answer
from components.serving.batch.answered import CLIPS, JOURNAL, MOMENTS
from pipelines.commands.predict import command as predict
from pipelines.commands.predict.folder import from_manifest
from tests.serving import media
from tests.serving.answers.test_schemas import answer_fields


@pytest.fixture(scope="module")
def judge(bundle_folder: Path) -> Callable[..., int]:
    """`mer predict` with the tiny bundle, loaded once."""
    predictor = predict.predictor_of(str(bundle_folder), None)
    with pytest.MonkeyPatch.context() as patch:

        def run(*clips: Path, **options: object) -> int:
            patch.setattr(predict, "predictor_of", lambda *_, **__: predictor)
            return predict.run(list(clips), **options)  # type: ignore[arg-type]

        yield run


@pytest.fixture
def films(tmp_path: Path, clip_path: Path) -> Path:
    """Two clips, one of them in a folder of its own, and a file that is none."""
    folder = tmp_path / "films"
    (folder / "more").mkdir(parents=True)
    shutil.copy(clip_path, folder / "a.mp4")
    media.video(folder / "more" / "b.mp4", seconds=0.6, side_px=64)
    (folder / "c.mp4").write_text("not a clip\n")
    return folder


def answered(out: Path) -> dict[str, int]:
    """Answer → the time at which it was written."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "answers").rglob("*.json")}


def test_every_clip_has_a_row_and_only_what_is_missing_is_done_again(
    judge: Callable[..., int], films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert judge(films, recursive=True, out=out, forms=["csv", "srt"]) == 3
    clips = pd.read_csv(out / f"{CLIPS}.csv")
    assert clips["clip"].tolist() == ["a.mp4", "c.mp4", "more/b.mp4"]
    assert clips["error"].tolist()[1] == "unsupported-media"
    assert clips["emotion"].notna().tolist() == [True, False, True]
    answers = {
        name: Answer.model_validate_json((out / "answers" / f"{name}.json").read_text())
        for name in ("a.mp4", "more/b.mp4")
    }
    moments = pd.read_parquet(out / MOMENTS)
    assert moments.groupby("clip").size().to_dict() == {name: len(one.timeline) for name, one in answers.items()}
    shown = pd.read_csv(out / "answers" / "a.mp4.csv")
    assert shown["confidence"].tolist() == pytest.approx(moments[moments["clip"] == "a.mp4"]["confidence"].tolist())
    assert (out / "answers" / "more" / "b.mp4.srt").read_text() == forms.srt(answers["more/b.mp4"])

    before = answered(out)
    (out / JOURNAL).write_text((out / JOURNAL).read_text() + '{"a.mp4": "cut')  # killed while it wrote
    media.video(films / "more" / "b.mp4", seconds=0.8, side_px=64)
    os.utime(films / "c.mp4")
    assert judge(films, recursive=True, out=out, forms=["csv", "srt"]) == 3
    assert "1 of 3 clips are done already" in capsys.readouterr().err
    after = answered(out)
    assert {name for name in after if after[name] != before[name]} == {"b.mp4.json", "c.mp4.json"}


@pytest.mark.integration
@pytest.mark.usefixtures("ray_session")
def test_an_actor_of_ray_answers_as_this_process_and_what_it_did_is_not_done_again(
    judge: Callable[..., int],
    films: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    here, there = tmp_path / "here", tmp_path / "there"
    (films / "a.srt").write_text("1\n00:00:00,200 --> 00:00:01,000\nwell done\n")
    table = films / "clips.csv"
    table.write_text("clip,transcript\na.mp4,a.srt\nmore/b.mp4,\nc.mp4,\n")
    assert judge(table, out=here, forms=["srt"]) == 3
    monkeypatch.chdir(films)
    assert judge(Path("clips.csv"), out=there, forms=["srt"], on_ray=True) == 3
    for path in sorted(here.rglob("*.*")):
        if path.suffix in {".json", ".srt", ".csv"}:
            assert (there / path.relative_to(here)).read_bytes() == path.read_bytes(), path
    assert judge(Path("clips.csv"), out=there, forms=["srt"]) == 3
    assert "2 of 3 clips are done already" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--out"):
        judge(table, on_ray=True)


def test_a_table_of_clips_brings_their_words(judge: Callable[..., int], films: Path, tmp_path: Path) -> None:
    (films / "a.srt").write_text("1\n00:00:00,200 --> 00:00:01,000\nwell done\n")
    table = films / "clips.csv"
    table.write_text("clip,transcript\na.mp4,a.srt\nmore/b.mp4,\n")
    assert judge(table, out=tmp_path / "out") == 0
    modalities = pd.read_csv(tmp_path / "out" / f"{CLIPS}.csv").set_index("clip")["modalities"]
    assert "text" in modalities["a.mp4"]
    assert "text" not in modalities["more/b.mp4"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file\na.mp4\n", "not a table of clips.*file"),
        ("clip,transcripts\na.mp4,\n", "transcript"),
        ("clip,words\n,b.json\n", "line 2"),
        ("clip,words\na.mp4,b.json,\nc.mp4,d.json,e\n", "line 3.*3 cells"),
        ("clip,clip\na.mp4,\n", "twice"),
        (b"clip\n\xff\n", "cannot read"),
    ],
)
def test_a_table_that_is_none_says_where(tmp_path: Path, table: str | bytes, words: str) -> None:
    path = tmp_path / "clips.csv"
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(DataError, match=words):
        from_manifest(path)


def test_a_table_may_have_the_delimiter_of_a_spreadsheet(tmp_path: Path) -> None:
    table = tmp_path / "clips.csv"
    table.write_text("clip;transcript\na.mp4;well, then.srt\n")
    (job,) = from_manifest(table)
    assert (job.clip, job.transcript) == (tmp_path / "a.mp4", tmp_path / "well, then.srt")


def test_a_link_to_a_folder_above_is_not_gone_round(films: Path) -> None:
    (films / "more" / "round").symlink_to(films)
    names = [path.relative_to(films).as_posix() for path in predict.media_files([films], recursive=True)]
    assert names == ["a.mp4", "c.mp4", "more/b.mp4"]


def test_what_cannot_be_meant_is_refused_before_any_clip(films: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="same name"):
        predict.run([films, films / "a.mp4"], out=tmp_path / "out")
    with pytest.raises(ConfigError, match="--transcript"):
        predict.run([films], out=tmp_path / "out", transcript="well")
    with pytest.raises(ConfigError, match="a file"):
        predict.run([films], out=films / "c.mp4")
    (tmp_path / "none" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match="--recursive"):
        predict.run([tmp_path / "none"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_episodes_are_subtitles() -> None:
    answer = Answer.model_validate(answer_fields())
    (first, *_) = answer.episodes
    assert forms.vtt(answer).startswith("WEBVTT\n\n00:00:")
    assert f"{first.emotion} ({first.kind}" in forms.srt(answer)
    assert forms._time(3725.0815, ",") == "01:02:05,082"
