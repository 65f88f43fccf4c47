"""Fixtures that every tier shares: one Ray and one MLflow store a session."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked `gpu` on a machine without one."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray for the whole session."""
    import ray

    from components.contracts.cluster import connect
    from components.contracts.config import RayResources

    connect(RayResources(num_cpus=4, object_store_mb=256))
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real MLflow store on sqlite, shared by the session; each test uses its own experiment and model names."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real recordings, where there is one."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip("real recordings are not on this machine (../shared/data)")
    return data
