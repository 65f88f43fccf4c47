"""A tiny bundle and a tiny clip for the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.config import MediaLimits
from components.serving.service import Service, ServiceSettings, VersionRef
from tests.serving import media
from tests.serving.bundles import tiny_bundle

LIMITS = MediaLimits(max_bytes=200_000, max_duration_s=5.0)


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
    cache = tmp_path_factory.mktemp("cache")
    sha256 = tiny_bundle(cache / "making")
    (cache / "making").rename(cache / sha256)
    service = Service(ServiceSettings(cache=cache, limits=LIMITS, golden_tolerance=1e-4, alias="champion"))
    reference = VersionRef(model_name="tiny", version="4", bundle_sha256=sha256, tracking_uri="http://127.0.0.1:9")
    service.load(reference.model_dump())
    return service
