"""The version that comes with the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.config import Params, Tracking
from components.contracts.layout import Layout
from components.contracts.lineage import RECORDED
from components.registry import starter
from components.registry.bundle import load_bundle
from components.registry.starter import BUNDLE, FOLDER, TAG, register_first
from components.tracking.versions import resolve, versions_of
from pipelines.commands.service import serve
from pipelines.served import bundle_people, served_line
from tests.registry.made import make_bundle
from tests.registry.test_fetch import put


def test_it_loads_gives_what_it_gave_and_was_trained_on_recordings() -> None:
    bundle = load_bundle(BUNDLE)
    assert bundle.check_goldens() <= 1e-4
    assert set(bundle.spec.names) == {"face", "voice", "text"}
    assert set(bundle.description.corpora.values()) == {RECORDED}
    assert all(gate["passed"] for gate in bundle.description.gates)


def test_nothing_of_a_recording_is_in_it() -> None:
    assert all(golden.name.startswith("drawn: ") for golden in load_bundle(BUNDLE).goldens)
    for path in (*BUNDLE.glob("*.json"), FOLDER / "MODEL_CARD.md", FOLDER / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert not any(suffix in text for suffix in (".jpg", ".flac", ".wav")), path


def params_of(uri: str, name: str) -> Params:
    return Params.model_validate({"tracking": {"uri": uri, "experiment": name}, "registry": {"model_name": name}})


@pytest.mark.integration
def test_it_is_the_first_champion_and_what_comes_later_challenges_it(
    tmp_path: Path, mlflow_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params, layout = params_of(mlflow_uri, "started"), Layout(tmp_path)
    serve._register_starter(params, layout)
    said = "started had no version; the starter that comes with mer is its version 1 now, with the alias 'champion'"
    assert said in capsys.readouterr().err
    people = "trained on recordings of people (faces, meld, nemo, ravdess)"
    line = f"started version 1, the starter that comes with mer, {people}"
    assert served_line(params, layout, uri=mlflow_uri) == line
    serve._register_starter(params, layout)
    assert capsys.readouterr().err == ""
    version = resolve("started", "champion", tracking_uri=mlflow_uri)
    assert version is not None
    assert version.tags[TAG] == version.tags["gates.passed"] == "true"
    assert version.description.startswith("# mer: emotion over time from face, voice and text")
    _, own = put(tmp_path, mlflow_uri, "started")
    assert own.aliases == ("challenger",)
    assert resolve("started", "champion", tracking_uri=mlflow_uri) == version


@pytest.mark.integration
def test_a_model_that_has_a_version_does_not_get_it(tmp_path: Path, mlflow_uri: str) -> None:
    put(tmp_path, mlflow_uri, "has-one", passed=False)
    tracking = Tracking(uri=mlflow_uri, experiment="has-one")
    assert register_first(name="has-one", alias="champion", tracking=tracking, root=tmp_path) is None
    assert len(versions_of("has-one", tracking_uri=mlflow_uri)) == 1
    assert served_line(params_of(mlflow_uri, "has-one"), Layout(tmp_path), uri=mlflow_uri) is None


@pytest.mark.integration
def test_an_installation_without_it_registers_nothing(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "BUNDLE", tmp_path / "nothing")
    assert not starter.is_there()
    tracking = Tracking(uri=mlflow_uri, experiment="without")
    assert register_first(name="without", alias="champion", tracking=tracking, root=tmp_path) is None
    assert versions_of("without", tracking_uri=mlflow_uri) == []


def test_a_line_names_the_people_of_a_bundle(tmp_path: Path) -> None:
    assert bundle_people(tmp_path) == "not known whom it was trained on"
    for name, fields, words in (
        ("rendered", {"corpora": {"synthetic": "rendered"}}, "rendered people (synthetic): no evidence about a real"),
        (
            "started",
            {"corpora": {"synthetic": "rendered"}, "started_from": {"corpora": {"faces": "recorded"}}},
            "trained on recordings of people (faces) and rendered people (synthetic)",
        ),
    ):
        make_bundle(tmp_path / name, **fields)
        assert words in bundle_people(tmp_path / name)
