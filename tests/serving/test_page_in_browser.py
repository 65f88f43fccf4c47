"""The page in a real browser, before a real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.registry.goldens import GoldenClip
from components.serving.service import Service
from tests.serving import media
from tests.serving.browser import Tab, chromium

VERDICT = "document.querySelector('.verdict')?.innerText"
PLAYER = "document.querySelector('video')"
HISTORY = "[...document.querySelectorAll('#history li')].map((entry) => entry.innerText)"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [
        media.video(folder / "first.mp4", seconds=8.0, side_px=160),
        media.video(folder / "second.mp4", seconds=0.6, side_px=64),
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def page(browser: Tab, address: str) -> Tab:
    browser.size(1000, 900)
    browser.open(address)
    return browser


def test_the_page_shows_the_clip_that_was_chosen_last(page: Tab, clips: list[Path]) -> None:
    """The first one's answer comes while the second one is shown, and takes only its own place."""
    page.choose("#file", clips[0])
    page.choose("#file", clips[1])
    page.until(f"{HISTORY}.filter((entry) => entry.includes('%')).length === 2")
    assert "second.mp4" in page.js(VERDICT)
    first, second = page.js(HISTORY)
    assert first.startswith("first.mp4")
    assert second.startswith("second.mp4")
    page.js("document.querySelector('#history .name').click()")
    assert "first.mp4" in page.js(VERDICT)


def test_a_clip_that_is_cancelled_gets_no_answer_and_the_next_one_does(page: Tab, clips: list[Path]) -> None:
    page.choose("#file", *clips)
    page.js("document.querySelector('#history li button:last-child').click()")
    page.until(f"{HISTORY}[1].includes('%')")
    assert "no answer" in page.js(HISTORY)[0]
    assert page.js("document.getElementById('status').innerText") == "first.mp4 was cancelled."
    page.js("document.querySelector('#history li button:last-child').click()")
    assert len(page.js(HISTORY)) == 1


def test_the_playhead_goes_by_keyboard_and_says_all_scores(page: Tab, clips: list[Path]) -> None:
    page.choose("#file", clips[0])
    page.until(VERDICT)
    page.js("document.querySelector('.playhead').focus()")
    for _ in range(3):
        page.key("ArrowRight")
    step = float(page.js("document.querySelector('.playhead').step"))
    assert float(page.js("document.querySelector('.playhead').value")) == pytest.approx(3 * step)
    assert page.js("document.querySelector('video').currentTime") == pytest.approx(3 * step, abs=step)
    told = page.js("document.querySelector('.readout').textContent")
    classes = page.js("[...document.querySelectorAll('.legend span')].map((entry) => entry.innerText)")
    assert all(name in told for name in classes)
    assert f"{3 * step:.1f} s" in told


def test_the_box_of_the_face_lies_over_the_picture_and_follows_the_playhead(page: Tab, clips: list[Path]) -> None:
    page.choose("#file", clips[0])
    page.until(VERDICT)
    place = (
        "(({left, top, width, height}, frame) => [left - frame.left, top - frame.top, width, height])"
        "(document.querySelector('#media .face').getBoundingClientRect(),"
        " document.querySelector('video').getBoundingClientRect())"
    )
    page.until(f"{PLAYER}.videoWidth")
    width, height = page.js(f"[{PLAYER}.clientWidth, {PLAYER}.clientHeight]")
    assert page.js(place) == pytest.approx([0, 0, width, height], abs=1)  # this version takes the whole picture
    page.js(
        "answer = JSON.parse(document.querySelector('pre').textContent);"
        "answer.face_boxes = answer.timeline.map((moment, step) => step < 10 ? [0.25, 0.5, 0.75, 1]"
        " : step < 20 ? null : [0, 0, 0.5, 0.25]);"
        "show(answer, document.querySelector('video')); 0"
    )
    assert page.js(place) == pytest.approx([width / 4, height / 2, width / 2, height / 2], abs=1)
    head = "document.querySelector('.playhead')"
    for at_s, hidden in ((1.5, True), (3.0, False)):
        page.js(f"{head}.value = {at_s}; {head}.dispatchEvent(new Event('input')); 0")
        page.until(f"Math.abs(document.querySelector('video').currentTime - {at_s}) < 0.05")
        page.until(f"document.querySelector('#media .face').hidden === {str(hidden).lower()}")
    assert page.js(place) == pytest.approx([0, 0, width / 2, height / 4], abs=1)
    page.js(f"{PLAYER}.currentTime = 0.5; 0")  # by the player's own controls
    page.until(f"document.querySelector('#media .face').style.top === `${{{PLAYER}.offsetTop + {height / 2}}}px`")
    assert len(page.js("[...document.querySelectorAll('#media .face')].map((box) => box.className)")) == 1
    page.choose("#file", media.sound(clips[0].with_name("voice.wav")))
    page.until(f"({VERDICT} ?? '').includes('voice.wav')")
    assert page.js("document.querySelector('#media .face')") is None


def test_what_is_saved_as_csv_has_a_row_per_moment(page: Tab, clips: list[Path]) -> None:
    page.choose("#file", clips[1])
    page.until(VERDICT)
    answer = json.loads(page.js("document.querySelector('pre').textContent"))
    header, *rows = page.js("csv(JSON.parse(document.querySelector('pre').textContent))").splitlines()
    assert len(rows) == len(answer["timeline"])
    assert header.split(",")[-len(answer["posterior"]) :] == list(answer["posterior"])
    assert rows[0].split(",")[2] == answer["timeline"][0]["emotion"]


def test_a_file_that_the_browser_cannot_play_is_shown_as_pictures_that_follow_the_playhead(
    page: Tab, tmp_path: Path
) -> None:
    page.choose("#file", media.video(tmp_path / "old.avi", seconds=2.0, codec="mpeg4"))
    page.until("document.querySelector('#media img')?.naturalWidth")
    assert "cannot play old.avi" in page.js("document.getElementById('media').innerText")
    page.until(VERDICT)
    source = "document.querySelector('#media img').src"
    first = page.js(source)
    page.js("document.querySelector('.playhead').value = 1.6")
    page.js("document.querySelector('.playhead').dispatchEvent(new Event('input'))")
    assert page.js(source) != first


def test_an_example_is_one_click_away(
    page: Tab, live_service: Service, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    page.js("document.getElementById('example').click()")
    page.until("document.getElementById('status').innerText.includes('without it')")
    golden = GoldenClip(media=clips[1].read_bytes(), transcript="what a day", expected={})
    predictor = live_service.current()
    monkeypatch.setattr(predictor, "bundle", replace(predictor.bundle, golden_clip=golden))
    page.js("document.getElementById('example').click()")
    page.until(VERDICT)
    assert "example.mp4" in page.js(VERDICT)
    assert json.loads(page.js("document.querySelector('pre').textContent"))["presence"]["text"] > 0


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_needs_no_scrolling_sideways(page: Tab, clips: list[Path], dark: bool) -> None:
    page.size(360, 800, dark=dark)
    page.choose("#file", *clips)
    page.until(f"{HISTORY}.filter((entry) => entry.includes('%')).length === 2")
    page.js("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.js("document.documentElement.scrollWidth") <= 360


def test_the_camera_is_judged_live_over_a_broken_connection_and_then_as_a_whole(page: Tab) -> None:
    page.js(
        "made = []; WebSocket = class extends WebSocket { constructor(...all) { super(...all); made.push(this); } }; 0"
    )
    page.js("document.getElementById('record').click()")
    page.until(f"({VERDICT} ?? '').includes(' at ')")  # steps, while the camera runs
    page.js("made[0].close()")
    page.until("made.length === 2 && made[1].readyState === 1")
    assert page.js("document.getElementById('record').innerText") == "Stop and analyse"
    assert "Live:" in page.js("document.getElementById('status').innerText")
    page.js("document.getElementById('record').click()")
    page.until(f"({VERDICT} ?? '').includes('live-')")
    answer = json.loads(page.js("document.querySelector('pre').textContent"))
    assert answer["presence"]["face"] > 0.5
    assert page.js("document.querySelector('#media video').src").startswith("blob:")


def test_without_the_stream_a_recording_is_sent(page: Tab) -> None:
    page.js("window.WebSocket = class { constructor() { throw new Error('blocked'); } }")
    page.js("document.getElementById('record').click()")
    page.until("document.getElementById('status').innerText.includes('Not live')")
    page.js("new Promise((done) => setTimeout(done, 800))")
    page.js("document.getElementById('record').click()")
    page.until(f"({VERDICT} ?? '').includes('live-')")


def test_a_file_that_no_browser_plays_is_said_and_analysed(page: Tab, tmp_path: Path) -> None:
    media.video(tmp_path / "old.avi", seconds=0.6, side_px=64)
    page.choose("#file", tmp_path / "old.avi")
    page.until("document.getElementById('media').innerText.includes('cannot play old.avi')")
    page.until(f"({VERDICT} ?? '').includes('old.avi')")
