"""Versions that were registered before modules moved are still loaded, checked, promoted and served.

Covered: `MLmodel` with its loader module by name; the files of the bundle, its hash and golden examples; the
fingerprints of its alignment and encoders; the tags that the reconciler reads. Codes that were spelt differently in
stored tables are in `tests/contracts/test_codes.py` and `tests/features/test_failures.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml

from components.contracts.config import MediaLimits
from components.registry.bundle import load_bundle
from components.registry.keys import TrustedKeys
from components.registry.register import LOADER_MODULE
from components.rollout.reconcile import Reconciler
from components.rollout.versions import REASON, STATE, MlflowVersions
from components.serving.clips import clip_of_file
from components.serving.service import Service, ServiceSettings
from components.tracking.client import default_store
from tests.rollout.registry import TinyRegistry
from tests.rollout.test_reconcile import ServeStandIn
from tests.rollout.versions_of_before import ARTIFACTS, BUNDLE, SHA256, STORED, register_as_it_was, write_sound

pytestmark = pytest.mark.integration

NAME = "before"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def version(mlflow_uri: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return register_as_it_was(mlflow_uri, NAME, tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound") / "tone.wav")


def same_answer(answer: dict[str, Any]) -> None:
    """Compares with the answer of the code of that time for the same sound."""
    before = STORED["answer"]
    assert answer.keys() - before.keys() == {"adapted_to", "face_boxes"}  # what was added since
    assert before.keys() <= answer.keys()
    assert answer["emotion"] == before["emotion"]
    assert answer["presence"] == before["presence"]
    added = [episode.keys() - own.keys() for episode, own in zip(answer["episodes"], before["episodes"], strict=True)]
    assert all(names == {"why"} for names in added)
    assert [episode | {"why": None} for episode in before["episodes"]] == answer["episodes"]
    assert _numbers(answer) == pytest.approx(_numbers(before), abs=1e-5)


def _numbers(value: Any) -> list[float]:
    """Every number of an answer, in order, apart from the version's."""
    if isinstance(value, dict):
        return [number for key in sorted(value) if key != "model" for number in _numbers(value[key])]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) and np.isfinite(value) else []


def test_its_loader_module_is_still_the_one_in_mlmodel() -> None:
    flavor = yaml.safe_load((ARTIFACTS / "MLmodel").read_text())["flavors"]["python_function"]
    assert flavor["loader_module"] == LOADER_MODULE == "components.serving.flavor"
    assert flavor["code"] is None


def test_its_bundle_has_its_hash_and_reproduces_its_goldens() -> None:
    bundle = load_bundle(BUNDLE)
    assert bundle.sha256 == SHA256
    bundle.check_goldens(TOLERANCE)


def test_mlflow_loads_it_by_alias_and_it_answers_as_before(mlflow_uri: str, version: str, sound: Path) -> None:
    with default_store(mlflow_uri):
        model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
        table = model.predict(pd.DataFrame({"path": [str(sound)]}))
    same_answer(json.loads(table["answer_json"][0]))


def test_the_reconciler_promotes_it_where_its_bundle_was_before_versions_were_signed(
    mlflow_uri: str, version: str, tmp_path: Path
) -> None:
    shutil.copytree(BUNDLE, tmp_path / "cache" / SHA256)
    serve = ServeStandIn()
    reconciler = Reconciler(
        versions=MlflowVersions(model_name=NAME, alias="champion", tracking_uri=mlflow_uri),
        control=serve,
        tracking_uri=mlflow_uri,
        cache=tmp_path / "cache",
        keys=TrustedKeys(),
        golden_tolerance=TOLERANCE,
    )
    kinds = [reconciler.reconcile_once().kind for _ in range(3)]
    assert kinds == ["deploy", "confirm", "keep"]
    assert serve.deployed == [version]
    tags = TinyRegistry(mlflow_uri, NAME, tmp_path).tags(version)
    assert tags[STATE] == "serving"
    assert f"review it, then `mer sign {version}`" in tags[REASON]


def test_a_replica_serves_it_and_answers_as_before(mlflow_uri: str, version: str, sound: Path, tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "cache" / SHA256)
    service = Service(
        ServiceSettings(cache=tmp_path / "cache", limits=MediaLimits(), golden_tolerance=TOLERANCE, alias="champion")
    )
    service.load({"model_name": NAME, "version": version, "bundle_sha256": SHA256, "tracking_uri": mlflow_uri})
    served = service.served_version()
    assert (served.name, served.version, served.bundle_sha256) == (NAME, version, SHA256)
    predictor = service.current()
    upload = Path(shutil.copy(sound, service.uploads.path))  # a service reads nothing else
    same_answer(json.loads(predictor.predict(clip_of_file(upload, predictor.guard)).to_json()))
