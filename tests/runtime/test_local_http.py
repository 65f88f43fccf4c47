from __future__ import annotations

import socket

import pytest

from components.runtime.local_http import answer_of
from tests.datasets.file_server import Files, serving


def test_an_answer_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody listens there
    with serving(Files(content={"/health": b"well"}, refuse=[503])) as files:
        url = files.url
        assert answer_of(f"{url}/health", timeout_s=20) is None
        answer = answer_of(f"{url}/health", timeout_s=20)
        assert answer is not None
        assert answer.content == b"well"
        assert answer_of(f"{url}/nowhere", timeout_s=20) is None


def test_nobody_there() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert answer_of(f"http://127.0.0.1:{port}/health", timeout_s=5) is None
