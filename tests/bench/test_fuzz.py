"""Some of the requests of the benchmark, before the tiny service."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from bench.service.fuzz import KINDS, POSTED, SERVER_ERROR, Bent
from tests.serving import media
from tests.serving.conftest import LIMITS, SERVING, listening, tiny_service

REQUESTS = 60


@pytest.mark.integration
def test_no_bent_request_is_answered_with_5xx_and_no_file_is_left(tmp_path: Path) -> None:
    service = tiny_service(tmp_path, LIMITS)
    files = {"a.wav": media.sound(tmp_path / "a.wav").read_bytes()}
    files["a.mp4"] = media.video(tmp_path / "a.mp4", seconds=0.4, side_px=64).read_bytes()
    kept = set(service.uploads.path.rglob("*"))
    with listening(service, SERVING) as url, httpx.Client(timeout=60, trust_env=False) as client:
        posted = tuple(path for path in POSTED if "batch" not in path)  # this service takes no jobs
        bent = Bent(url=url.rstrip("/"), media=files, posted=posted)
        for number in range(REQUESTS):
            bent.send(number, client)
        assert client.get(f"{url}healthz").status_code == 200
    assert bent.bad == []
    assert bent.statuses.total() == REQUESTS
    assert len([status for status in bent.statuses if 400 <= status < SERVER_ERROR]) >= 4
    assert set(service.uploads.path.rglob("*")) == kept
    service.current().guard.close()
    service.current().encoders.close()


def test_a_request_is_that_of_its_number() -> None:
    """Without a service nothing answers, and all of it is noted."""
    one, other = (Bent(url="http://127.0.0.1:9", media={"a.wav": b"RIFF" * 9}) for _ in range(2))
    with httpx.Client(timeout=1, trust_env=False) as client:
        for number in range(8):
            one.send(number, client)
            other.send(number, client)
    assert one.statuses == other.statuses
    assert one.bad == other.bad
    assert sum(weight for weight, _ in KINDS.values()) == 100
