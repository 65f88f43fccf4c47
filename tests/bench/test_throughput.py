from __future__ import annotations

import httpx
import pytest

from bench.service.throughput import Asked, Sizes, asked, row, waits

FEW = [Asked(seconds=(0.4, 0.6), refused=0, lasted_s=2.0), Asked(seconds=(0.5, 0.5), refused=1, lasted_s=2.0)]
MANY = Asked(seconds=(1.0,) * 8, refused=3, lasted_s=2.0)


def test_a_row_compares_seconds_per_answer_of_neighbouring_turns() -> None:
    faster = [Asked(seconds=(0.2,) * 4, refused=0, lasted_s=2.0)] * 2
    compared = row("clips", "theirs", FEW, faster, clients=2, goal=1.5)
    assert (compared.baseline.amount, compared.ours.amount) == (1.0, 0.5)
    assert compared.ratio.median == 2.0
    assert compared.met


def test_waits_says_what_was_refused() -> None:
    sizes = Sizes(turns=1, seconds=1.0, clients=4, many_clients=32)
    compared = waits(FEW, MANY, sizes)
    assert "8 answers, 3 refused" in compared.ours.detail
    assert compared.ratio.median == pytest.approx(1.0 / 0.6, rel=0.02)


def test_clients_ask_until_their_time_is_over_and_stop_for_nothing_but_an_error() -> None:
    def served(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503 if request.url.path == "/busy" else 500 if request.url.path == "/broken" else 200)

    client = httpx.Client(transport=httpx.MockTransport(served))
    done = asked(lambda _: client.get("http://a/"), clients=2, seconds=0.1)
    assert done.refused == 0
    assert done.seconds
    assert done.rate_hz == len(done.seconds) / done.lasted_s
    assert asked(lambda _: client.get("http://a/busy"), clients=1, seconds=0.1).refused == 1
