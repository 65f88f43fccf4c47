"""Headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

WITHIN_S = 60.0
NARROW = 500  # of a telephone: bars for scrolling lie over the page
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "about:blank",
)  # fmt: skip


class Tab:
    """One tab."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._line.recv(timeout=WITHIN_S))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression: str) -> Any:
        """Its value once it is true."""
        deadline = time.monotonic() + WITHIN_S
        while not (value := self.js(expression)):
            assert time.monotonic() < deadline, f"{expression}\n{self.js('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def open(self, address: str) -> None:
        """Goes to a page and waits until its script ran."""
        self.call("Page.navigate", url=address)
        self.until(f"document.readyState === 'complete' && location.href.startsWith({address!r})")

    def choose(self, selector: str, *files: Path) -> None:
        """Chooses files as a person does in the dialogue."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in files])

    def key(self, name: str) -> None:
        """Presses and releases a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=KEYS[name])

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """The window's size in pixels, and whether the page is to be dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < NARROW
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "Enter": 13}


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A tab of a new browser with a camera that shows a test picture. Skips where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium")
    command = [program, f"--user-data-dir={profile}", *FLAGS]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port = _port(profile / "DevToolsActivePort", browser)
            pages = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            with connect(address, max_size=None, proxy=None) as line:
                tab = Tab(line)
                tab.call("Page.enable")
                yield tab
        finally:
            browser.terminate()


def _port(file: Path, browser: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + WITHIN_S
    while not (file.is_file() and file.read_text().strip()):
        assert browser.poll() is None, f"the browser ended with {browser.returncode}"
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    return file.read_text().split()[0]
