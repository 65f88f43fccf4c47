"""A tiny rendered corpus, rendered once a session, and small files to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from components.datasets.synthetic_media import MediaNames
from components.datasets.synthetic_plan import ClipPlan, plan_corpus

PICTURE_PX = 128


@pytest.fixture(scope="session")
def plans() -> list[ClipPlan]:
    return plan_corpus(seed=7, subjects=30, clips_per_subject=8, picture_px=PICTURE_PX)


@pytest.fixture(scope="session")
def rendered(plans: list[ClipPlan], tmp_path_factory: pytest.TempPathFactory) -> Callable[[ClipPlan], Path]:
    """Renders a plan (once) and returns the path of its container."""
    from components.datasets.synthetic_media import render

    folder = tmp_path_factory.mktemp("rendered")

    def container(plan: ClipPlan) -> Path:
        names = MediaNames.of(plan)
        path = folder / str(names.video or names.audio)
        if not path.exists():
            render(plan, folder)
        return path

    return container


@pytest.fixture
def write_wav() -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(2 * np.pi * 150 * np.arange(8000) / 16000)
        soundfile.write(path, tone, 16000)
        return path

    return write
