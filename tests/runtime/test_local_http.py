from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable

import httpx
import pytest
import requests

from components.runtime.local_http import NO_PROXY, answer_of, bypass_proxies
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


HOSTS = ("http://127.0.0.1:5000/x", "http://localhost:5000/x", "http://[::1]:5000/x")
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the environment's proxies; what a test and the code set ends with the test."""

    def set_them(**variables: str) -> None:
        for name in (*PROXIES, *NO_PROXY):
            monkeypatch.setenv(name, "")
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_them


# Read once: a client of its own would read all certificates again.
TLS = ssl.create_default_context()


def proxy_of_httpx(url: str) -> bool:
    """Whether httpx asks a proxy for an address."""
    with httpx.Client(verify=TLS) as client:
        return client._transport_for_url(httpx.URL(url)) is not client._transport


def proxy_of_requests(url: str) -> bool:
    """Whether requests asks a proxy for an address."""
    return bool(requests.utils.get_environ_proxies(url))


@pytest.mark.parametrize("asks_a_proxy", [proxy_of_httpx, proxy_of_requests])
@pytest.mark.parametrize("variable", PROXIES)
@pytest.mark.parametrize(
    "excepted",
    [
        {},
        {"NO_PROXY": ""},
        {"no_proxy": "", "NO_PROXY": "intern.example"},
        {"no_proxy": "intern.example", "NO_PROXY": "localhost"},
        {"NO_PROXY": " intern.example , 10.0.0.0/8 "},
        {"NO_PROXY": "*,intern.example"},
    ],
)
def test_loopback_never_goes_through_a_proxy(
    proxies: Callable[..., None], variable: str, excepted: dict[str, str], asks_a_proxy: Callable[[str], bool]
) -> None:
    proxies(**{variable: "http://127.0.0.1:9"}, **excepted)
    bypass_proxies()
    assert [url for url in HOSTS if asks_a_proxy(url)] == []
    bypass_proxies()
    assert os.environ["NO_PROXY"].count("localhost") == 1
    assert "intern.example" in os.environ["NO_PROXY"] or not any("intern" in value for value in excepted.values())


@pytest.mark.parametrize("asks_a_proxy", [proxy_of_httpx, proxy_of_requests])
def test_other_hosts_go_where_they_went(proxies: Callable[..., None], asks_a_proxy: Callable[[str], bool]) -> None:
    proxies(HTTP_PROXY="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
    bypass_proxies()
    assert asks_a_proxy("https://zenodo.org/records/1")
    assert asks_a_proxy("http://mlflow.intern.example/")


def test_what_is_no_proxy_stays_as_it_is(proxies: Callable[..., None]) -> None:
    proxies(NO_PROXY="intern.example")
    bypass_proxies()
    assert os.environ["NO_PROXY"] == "intern.example"
    assert "no_proxy" not in os.environ
    proxies(https_proxy="http://127.0.0.1:9", NO_PROXY="*")
    bypass_proxies()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "*"
