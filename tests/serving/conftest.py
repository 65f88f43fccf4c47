"""A tiny bundle, a tiny clip and services for the session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from components.contracts.config import MediaLimits, Serving
from components.serving.assignment import VersionRef
from components.serving.http.app import create_app
from components.serving.http.gateway import Gateway
from components.serving.service import Service, ServiceSettings
from tests.serving import media
from tests.serving.bundles import SPECS, tiny_bundle

LIMITS = MediaLimits(max_bytes=200_000, max_duration_s=5.0)
LONG = MediaLimits(max_bytes=50_000_000, max_duration_s=60.0)
SERVING = Serving(
    upload_limits=LONG, stream_every_s=0.5, stream_context_s=1.0, stream_resume_s=30.0, upload_grace_s=60.0
)


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of face, voice and text."""
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    tiny_bundle(folder)
    return folder


@pytest.fixture(scope="session")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-second mp4 with picture and sound."""
    return media.video(tmp_path_factory.mktemp("media") / "clip.mp4")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with the tiny bundle as version 4, and no MLflow behind it."""
    return tiny_service(tmp_path_factory.mktemp("cache"), LIMITS)


@pytest.fixture(scope="session")
def live_service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The same for longer clips, and for streams."""
    return tiny_service(tmp_path_factory.mktemp("cache"), LONG)


def tiny_service(cache: Path, limits: MediaLimits, specs: Mapping[str, str] = SPECS) -> Service:
    """A service with the tiny bundle as version 4, with these encoders."""
    sha256 = tiny_bundle(cache / "making", specs=specs)
    (cache / "making").rename(cache / sha256)
    service = Service(ServiceSettings(cache=cache, limits=limits, golden_tolerance=1e-4, alias="champion"))
    reference = VersionRef(model_name="tiny", version="4", bundle_sha256=sha256, tracking_uri="http://127.0.0.1:9")
    service.load(reference.model_dump())
    return service


@pytest.fixture(scope="session")
def address(live_service: Service) -> Iterator[str]:
    """Its address, over real sockets, behind the gateway as behind a proxy of Serve."""
    with listening(live_service, SERVING) as url:
        yield url


@contextmanager
def listening(service: Service, serving: Serving) -> Iterator[str]:
    """The address of a service behind a gateway with these settings."""
    app = Gateway(create_app(service), serving)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)
