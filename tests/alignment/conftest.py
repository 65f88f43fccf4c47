"""One aligner a configuration for the whole session: the networks load once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.alignment.align import Aligner
from components.contracts.config import Alignment
from components.contracts.records import AlignedClip
from tests.builders import make_clip


@pytest.fixture(scope="session")
def aligner() -> Aligner:
    return Aligner(Alignment())


@pytest.fixture
def align_file(aligner: Aligner, tmp_path: Path) -> Callable[..., AlignedClip]:
    """Aligns a clip whose paths are relative to `tmp_path`."""

    def run(video: str | None = None, **fields: Any) -> AlignedClip:
        return aligner.align(make_clip(video_path=video, **fields), root=tmp_path)

    return run
