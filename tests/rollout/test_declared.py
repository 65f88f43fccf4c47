"""The application that infra/ declares for KubeRay, on a real Ray Serve: the reconciler beside it changes the version
alone, and replicas come with the load; `pytest -m bench tests/rollout/test_declared.py`, a minute or two."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.contracts.config import Serving
from components.rollout.reconcile import Loop, Reconciler
from components.rollout.serve_control import ServeControl
from components.rollout.versions import MlflowVersions
from components.serving.replica import DEPLOYMENT
from pipelines.kubeflow import kustomize
from tests.infra.manifests import INFRA, serve_config
from tests.rollout.registry import KEYS, TinyRegistry
from tests.rollout.test_under_load import START_S, Line, Load, healthy, until
from tests.serving import media
from tests.serving.ports import http_port

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

NAME = "declared"


def declare(cache: Path) -> None:
    """What KubeRay does with `serveConfigV2`; smaller, quicker, and at the port of the tests."""
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    (application,) = serve_config(kustomize.render(INFRA / "base"))["applications"]
    application |= {"name": NAME, "route_prefix": f"/{NAME}"}
    application["args"] |= {"cache": str(cache), "signing": None, "trusted_keys": list(KEYS.listed)}
    application["args"]["serving"] |= {"host": "127.0.0.1", "port": http_port(), "replica_cpus": 0.1}
    application["deployments"][0]["autoscaling_config"] |= {"max_replicas": 3, "upscale_delay_s": 1}
    serve.start(proxy_location="HeadOnly", http_options=HTTPOptions(host="127.0.0.1", port=http_port()))
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}))


def replicas() -> set[str]:
    from ray.serve.context import _get_global_client

    deployment = _get_global_client().get_serve_details()["applications"][NAME]["deployments"][DEPLOYMENT]
    return {each["replica_id"] for each in deployment["replicas"] if each["state"] == "RUNNING"}


@pytest.fixture
def line(ray_session: None, mlflow_uri: str, tmp_path: Path) -> Iterator[Line]:
    from ray import serve

    (tmp_path / "registry").mkdir()
    registry = TinyRegistry(mlflow_uri, NAME, tmp_path / "registry")
    declare(tmp_path / "cache")
    control = ServeControl(
        Serving(port=http_port()),
        cache=tmp_path / "cache",
        golden_tolerance=1e-4,
        alias="champion",
        keys=KEYS,
        application=NAME,
        route_prefix=f"/{NAME}",
        attach=True,
    )
    reconciler = Reconciler(
        versions=MlflowVersions(model_name=registry.name, alias="champion", tracking_uri=mlflow_uri),
        control=control,
        tracking_uri=mlflow_uri,
        cache=tmp_path / "cache",
        keys=KEYS,
        golden_tolerance=1e-4,
    )
    loop = Loop(reconciler=reconciler, poll_s=1.0)
    worker = threading.Thread(target=loop.run)
    worker.start()
    clip = media.video(tmp_path / "a.mp4", seconds=0.6, side_px=64).read_bytes()
    yield Line(registry=registry, control=control, folder=tmp_path, clip=clip, loop=loop)
    loop.halt()
    worker.join(30)
    serve.shutdown()


def test_a_version_comes_to_the_replicas_that_are_and_to_those_that_come(line: Line) -> None:
    until(lambda: healthy(line.control.url), START_S, "the application answers")
    until(lambda: line.control.actual().phase == "running", START_S, "all replicas have started")
    first = replicas()
    assert len(first) == 2
    version = line.add(1)
    line.promote(version, "serving", START_S)
    assert replicas() == first  # a change of the declared sizes or arguments would have replaced them
    with Load(line.control.url, line.clip, clients=8, pause_s=0.0) as load:
        until(lambda: len(replicas()) == 3, START_S, "a replica comes with the load")
        seen = len(load.responses)
        until(lambda: len(load.responses) > seen + 20, START_S, "requests go on")
        assert first < replicas()
    answered = {response for response in load.responses if response[0] == 200}
    assert answered == {(200, version)}
    assert {status for status, _ in load.responses} <= {200, 503}  # 503: full
