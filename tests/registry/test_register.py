from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.registry.register import _description
from components.tracking.versions import BUNDLE_TAG, MAX_DESCRIPTION, resolve
from tests.registry.test_fetch import put

pytestmark = pytest.mark.integration


def test_the_first_that_passes_becomes_champion_and_later_ones_only_challenge(tmp_path: Path, mlflow_uri: str) -> None:
    _, weak = put(tmp_path, mlflow_uri, "aliases", seed=0, passed=False)
    assert weak.aliases == ("challenger",)
    _, good = put(tmp_path, mlflow_uri, "aliases", seed=1)
    assert good.aliases == ("challenger", "champion")
    _, next_one = put(tmp_path, mlflow_uri, "aliases", seed=2)
    assert next_one.aliases == ("challenger",)
    champion = resolve("aliases", "champion", tracking_uri=mlflow_uri)
    assert champion is not None
    assert champion.version == good.version


def test_the_alias_that_is_configured_is_the_one_that_is_set_and_named(tmp_path: Path, mlflow_uri: str) -> None:
    _, done = put(tmp_path, mlflow_uri, "aliases-live", alias="live")
    assert done.aliases == ("challenger", "live")
    described = MlflowClient(mlflow_uri).get_registered_model("aliases-live").description
    assert "Move the alias `live` to promote a version" in described


def test_the_same_bundle_is_one_version_and_takes_the_challenger_alias_back(tmp_path: Path, mlflow_uri: str) -> None:
    _, first = put(tmp_path, mlflow_uri, "again", seed=0)
    _, second = put(tmp_path, mlflow_uri, "again", seed=1)
    _, third = put(tmp_path, mlflow_uri, "again", seed=0)
    assert first.version == third.version != second.version
    assert third.reused
    assert not second.reused
    assert third.aliases == ("challenger", "champion")


def test_the_version_points_at_its_run_and_carries_its_hash(tmp_path: Path, mlflow_uri: str) -> None:
    sha256, done = put(tmp_path, mlflow_uri, "linked")
    client = MlflowClient(mlflow_uri)
    version = client.get_model_version("linked", done.version)
    assert version.tags[BUNDLE_TAG] == sha256
    assert version.description == "# card\n"
    assert [item.path for item in client.list_artifacts(version.run_id)] == ["MODEL_CARD.md"]
    assert client.get_logged_model(version.source.rsplit("/", 1)[1]).status == "READY"


def test_a_long_card_is_cut_at_a_line_and_says_where_the_rest_is() -> None:
    card = "a line\n" * 2000
    text = _description(card)
    assert len(text) <= MAX_DESCRIPTION
    assert text.endswith("the whole card is `MODEL_CARD.md` among the artifacts.")
    assert "a line\n\n…" in text
