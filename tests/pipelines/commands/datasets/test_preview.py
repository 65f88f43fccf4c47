from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from components.contracts.config import load_params
from components.contracts.layout import Layout
from components.contracts.records import Clip, Segment
from components.datasets.registry import names
from pipelines.cli import call
from pipelines.commands.datasets.preview_page import LINE_COLUMNS, WAVE_COLUMNS, bars, line, ticks, waveform
from pipelines.commands.datasets.sample import UNLABELLED, emotion_of, sample
from pipelines.stages import call_stage
from tests.datasets.tiny_corpora import CORPORA

PARAMS = """
datasets: [folder]
alignment: {face: {detector: whole_frame}, voice: {activity: energy}}
folder: {root: corpus, emotions: {joy: happiness}, licence: CC0, consent: in writing}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with class-named folders, and two corpora that it does not use."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text("stages: {}\n")
    for name, place in (("folder", "corpus"), ("ravdess", "acted"), ("wesad", "worn")):
        (root / place).mkdir()
        CORPORA[name](root / place)
    monkeypatch.chdir(root)
    return root


class Resources(HTMLParser):
    """What a page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.unclosed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attributes if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in {"img", "meta", "br", "path"}:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "path":
            assert self.unclosed.pop() == tag


def page(path: Path) -> str:
    text = path.read_text()
    read = Resources(text)
    assert read.unclosed == []
    assert all(address.startswith("data:image/jpeg;base64,") for address in read.found)
    assert "url(" not in text
    assert "@import" not in text
    return text


def test_a_corpus_that_nothing_was_made_of_yet(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["datasets", "preview", "ravdess", "--root", "acted", "-o", "out/page.html"]) == 0
    assert str(project / "out/page.html") in capsys.readouterr().out
    text = page(project / "out/page.html")
    assert "as the corpus is now" in text
    assert text.count("<article>") == 2
    assert text.count("data:image/jpeg") > 5  # the crops of the clip with a picture
    assert text.count('viewBox="0 0 480 100"') == 2  # a waveform each
    assert "Kids are talking by the door" in text
    assert ">happiness</span>" in text
    assert "lfs-pointer" in text
    assert "No splits yet: too few subjects" in text
    assert "gender" in text
    assert ">acted/Actor_01/01-01-03-01-01-01-01.mp4<" in re.sub(r"<br>", ">", text.replace("</p>", "<"))
    assert not (project / "data").exists()
    assert list((project / ".mer").iterdir()) == []


def test_signals_without_picture_or_sound(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", "worn", "--set", "wesad.window_s=6", "--clips", "1"]
    assert call(["datasets", "preview", "wesad", *arguments]) == 0
    text = page(project / "preview-wesad.html")
    assert text.count("<article>") == 1
    assert text.count('viewBox="0 0 240 100"') >= 3
    assert "data:image" not in text
    capsys.readouterr()


def test_what_the_stages_wrote_is_shown_without_touching_media(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, params = Layout(project), load_params(project / "params.yaml", names())
    call_stage("datasets", params, layout, "folder")
    call_stage("alignment", params, layout, "folder")
    shutil.rmtree(project / "corpus")
    assert call(["datasets", "preview", "folder"]) == 0
    text = page(project / "preview-folder.html")
    assert "as the stages wrote it" in text
    assert "data:image/jpeg" in text
    assert 'class="refused"' not in text
    assert "lfs-pointer" in text
    capsys.readouterr()


def test_a_clip_that_cannot_be_aligned_says_why(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "corpus/anger/ann/<b>.wav").write_bytes(b"RIFF" + bytes(400))
    assert call(["datasets", "preview", "folder"]) == 0
    text = page(project / "preview-folder.html")
    assert text.count('class="refused"') == 1
    assert "&lt;b&gt;.wav" in text
    assert "<b>.wav" not in text
    capsys.readouterr()


def test_what_cannot_be_shown_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["datasets", "preview", "folder", "--clips", "0"]) == 2
    assert "1 to 200" in capsys.readouterr().err
    shutil.rmtree(project / "corpus/anger")
    (project / "corpus/joy/bo/two.wav").write_text("")
    assert call(["datasets", "preview", "folder"]) == 3
    assert "mer datasets check folder" in capsys.readouterr().err
    assert not (project / "preview-folder.html").exists()


def clip(name: str, person: str, emotion: str | None, *segments: Segment) -> Clip:
    return Clip(
        clip_id=f"d/{name}",
        dataset="d",
        content_sha256="",
        subject_id=f"d/{person}",
        session_id=f"d/{person}",
        emotion=emotion,
        segments=segments,
    )


def test_the_sample_takes_emotions_and_people_in_turn_and_is_always_the_same() -> None:
    common = [clip(f"a{number}", f"p{number % 3}", "anger") for number in range(30)]
    clips = [*common, clip("b", "p9", "fear"), clip("c", "p9", None)]
    chosen = sample(clips, 5)
    assert [emotion_of(one) for one in chosen] == ["anger", "fear", UNLABELLED, "anger", "anger"]
    assert len({one.subject_id for one in chosen if one.emotion == "anger"}) == 3
    assert sample(clips[::-1], 5) == chosen
    assert len(sample(clips, 100)) == 32


def test_the_emotion_of_a_clip_in_parts_is_the_one_that_lasts_longest() -> None:
    parts = [Segment(start_s=0, end_s=1, emotion="fear"), Segment(start_s=1, end_s=3, emotion="anger")]
    assert emotion_of(clip("a", "p", None, *parts)) == "anger"
    assert emotion_of(clip("a", "p", None)) == UNLABELLED


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),(-?[\d.]+)", path)]


def test_a_waveform_reaches_its_box_at_its_peak_and_stays_in_it() -> None:
    pcm = np.zeros(10_000, dtype=np.int16)
    pcm[5_000], pcm[7_000] = 3_000, -1_500
    drawn = points(waveform(pcm))
    assert min(y for _, y in drawn) == pytest.approx(1.0)
    assert max(y for _, y in drawn) == pytest.approx(50 + 49 / 2 + 0.4, abs=0.1)
    assert all(0 <= x <= WAVE_COLUMNS for x, _ in drawn)
    assert points(waveform(np.array([5], dtype=np.int16)))


def test_a_curve_is_broken_where_nothing_was_measured() -> None:
    values = np.linspace(0, 1, 4 * LINE_COLUMNS, dtype=np.float32)
    values[400:500] = np.nan
    path = line(values)
    assert path.count("M") == 2
    assert points(path)[0][1] == pytest.approx(95, abs=0.2)
    assert points(path)[-1][1] == pytest.approx(5, abs=0.2)
    assert line(np.full(10, np.nan, dtype=np.float32)) == ""
    assert points(line(np.ones(3, dtype=np.float32)))


def test_runs_and_ticks_are_shares_of_the_clip() -> None:
    assert bars(np.array([True, False, True, True])) == [(0.0, 25.0), (50.0, 50.0)]
    assert ticks(0.52) == [0.0, 0.2, 0.4]
    assert ticks(4.6) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(ticks(1800.0)) <= 7
