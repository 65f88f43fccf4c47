"""The page in a real browser, before a real service."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from components.contracts.config import MediaLimits
from components.serving.app import create_app
from components.serving.service import Service, ServiceSettings, VersionRef
from tests.serving import media
from tests.serving.browser import Tab, chromium
from tests.serving.bundles import tiny_bundle

LONG = MediaLimits(max_bytes=50_000_000, max_duration_s=60.0)
VERDICT = "document.querySelector('.verdict')?.innerText"
HISTORY = "[...document.querySelectorAll('#history li')].map((entry) => entry.innerText)"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    cache = tmp_path_factory.mktemp("cache")
    sha256 = tiny_bundle(cache / "making")
    (cache / "making").rename(cache / sha256)
    service = Service(ServiceSettings(cache=cache, limits=LONG, golden_tolerance=1e-4, alias="champion"))
    reference = VersionRef(model_name="tiny", version="4", bundle_sha256=sha256, tracking_uri="http://127.0.0.1:9")
    service.load(reference.model_dump())
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)


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


def test_what_is_saved_as_csv_has_a_row_per_moment(page: Tab, clips: list[Path]) -> None:
    page.choose("#file", clips[1])
    page.until(VERDICT)
    answer = json.loads(page.js("document.querySelector('pre').textContent"))
    header, *rows = page.js("csv(JSON.parse(document.querySelector('pre').textContent))").splitlines()
    assert len(rows) == len(answer["timeline"])
    assert header.split(",")[-len(answer["posterior"]) :] == list(answer["posterior"])
    assert rows[0].split(",")[2] == answer["timeline"][0]["emotion"]


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_screen_needs_no_scrolling_sideways(page: Tab, clips: list[Path], dark: bool) -> None:
    page.size(360, 800, dark=dark)
    page.choose("#file", *clips)
    page.until(f"{HISTORY}.filter((entry) => entry.includes('%')).length === 2")
    page.js("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.js("document.documentElement.scrollWidth") <= 360


def test_a_recording_of_the_camera_is_a_clip(page: Tab) -> None:
    page.js("document.getElementById('record').click()")
    page.until("document.getElementById('record').innerText === 'Stop and analyse'")
    page.js("new Promise((done) => setTimeout(done, 1200))")
    page.js("document.getElementById('record').click()")
    page.until(f"({VERDICT} ?? '').includes('recording-')")


def test_a_file_that_no_browser_plays_is_said_and_analysed(page: Tab, tmp_path: Path) -> None:
    media.video(tmp_path / "old.avi", seconds=0.6, side_px=64)
    page.choose("#file", tmp_path / "old.avi")
    page.until("document.getElementById('media').innerText.includes('cannot play old.avi')")
    page.until(f"({VERDICT} ?? '').includes('old.avi')")
