"""A tiny bundle and a tiny clip for the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving import media
from tests.serving.bundles import tiny_bundle


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
