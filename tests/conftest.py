"""Fixtures that every tier shares: a Ray per group of tests, and one MLflow store per session."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.runtime.cluster import LOOPBACK
from components.runtime.local_http import bypass_proxies
from tests import tiers

if TYPE_CHECKING:
    from components.datasets.synthetic.plan import ClipPlan
    from tests.registry.projects import EvaluatedProject

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # with Ray's 15 the tests beside them leave its workers nothing
os.environ.update(LOOPBACK)  # before anything imports Ray, which reads it then
bypass_proxies()  # as `mer` does
os.environ.pop("COLUMNS", None)  # set in the processes of pytest-xdist; no test depends on the width of a terminal

SHARED = Path(__file__).resolve().parents[2] / "shared"


WATCH = tiers.Watch()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collects without the cycle collector, and keeps what is there then out of its sight: it would go through the
    libraries' two million objects again and again. The tests import and make more, so it comes less often, too: with
    Python's thresholds it takes a twentieth of their time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what uses Ray or MLflow, and puts the longest groups first."""
    tiers.mark_heavy(items)
    tiers.longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps the tests of a group in one process."""
    return tiers.scheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Skips what is marked `gpu` on a machine without one, and lets no fixture of a light test start a framework."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    with WATCH.over(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Lets no light test start a framework."""
    with WATCH.over(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """Ends Ray with the last test of a group, after its fixtures: left idle, its processes and Serve's would take a
    tenth of a core until the session ends."""
    try:
        return (yield)
    finally:
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized() and tiers.ends_group(item, nextitem):
            ray.shutdown()


@pytest.fixture(scope="module")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One local Ray for the files of a group; `pytest_runtest_teardown` ends it."""
    from components.contracts.config import RayResources, Serving
    from components.runtime.cluster import connect
    from components.serving.http.gateway import environment

    own = tmp_path_factory.mktemp("service")
    os.environ.update(environment(Serving(), counts=own / "counts", keys=own / "api-keys.json"))
    connect(RayResources(num_cpus=2, object_store_mb=256))


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real MLflow store on sqlite, shared by the session; each test uses its own experiment and model names."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def evaluated_project(tmp_path_factory: pytest.TempPathFactory, mlflow_uri: str) -> EvaluatedProject:
    """A project of toy features after its training and evaluation; its tests change copies."""
    from tests.registry.projects import EvaluatedProject, make_params, make_project

    params = make_params(mlflow_uri, "stage-toy")
    return EvaluatedProject(params=params, layout=make_project(tmp_path_factory.mktemp("evaluated"), params))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real recordings, where there is one."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip("real recordings are not on this machine (../shared/data)")
    return data


@pytest.fixture(scope="session")
def plans() -> list[ClipPlan]:
    """What the clips of a small synthetic corpus contain."""
    from components.datasets.synthetic.plan import plan_corpus

    return plan_corpus(seed=7, subjects=30, clips_per_subject=8, picture_px=128)


@pytest.fixture(scope="session")
def rendered(plans: list[ClipPlan], tmp_path_factory: pytest.TempPathFactory) -> Callable[[ClipPlan], Path]:
    """Renders a plan (once) and returns the path of its container."""
    from components.datasets.synthetic.media import MediaNames, render

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
    """Writes half a second of a tone."""
    import numpy as np
    import soundfile

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = 0.3 * np.sin(2 * np.pi * 150 * np.arange(8000) / 16000)
        soundfile.write(path, tone, 16000)
        return path

    return write
