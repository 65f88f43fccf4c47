from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.registry.register import CARD_NAME, restated, shortened
from components.tracking.versions import BUNDLE_TAG, MAX_DESCRIPTION, download, resolve
from tests.registry.test_fetch import put

pytestmark = pytest.mark.integration


def test_the_first_that_passes_becomes_champion_and_later_ones_only_challenger(tmp_path: Path, mlflow_uri: str) -> None:
    _, weak = put(tmp_path, mlflow_uri, "aliases", seed=0, passed=False)
    assert weak.aliases == ("challenger",)
    _, good = put(tmp_path, mlflow_uri, "aliases", seed=1)
    assert good.aliases == ("challenger", "champion")
    _, third = put(tmp_path, mlflow_uri, "aliases", seed=2)
    assert third.aliases == ("challenger",)
    champion = resolve("aliases", "champion", tracking_uri=mlflow_uri)
    assert champion is not None
    assert champion.version == good.version


def test_the_configured_alias_is_set_and_named(tmp_path: Path, mlflow_uri: str) -> None:
    _, done = put(tmp_path, mlflow_uri, "aliases-live", alias="live")
    assert done.aliases == ("challenger", "live")
    described = MlflowClient(mlflow_uri).get_registered_model("aliases-live").description
    assert "Move the alias `live` to promote a version" in described


def test_the_same_bundle_is_one_version_and_gets_the_challenger_alias_again(tmp_path: Path, mlflow_uri: str) -> None:
    _, first = put(tmp_path, mlflow_uri, "again", seed=0)
    _, second = put(tmp_path, mlflow_uri, "again", seed=1)
    _, third = put(tmp_path, mlflow_uri, "again", seed=0)
    assert first.version == third.version != second.version
    assert third.reused
    assert not second.reused
    assert third.aliases == ("challenger", "champion")


def test_a_version_has_its_run_and_its_hash(tmp_path: Path, mlflow_uri: str) -> None:
    sha256, done = put(tmp_path, mlflow_uri, "linked")
    client = MlflowClient(mlflow_uri)
    version = client.get_model_version("linked", done.version)
    assert version.tags[BUNDLE_TAG] == sha256
    assert version.description == "# card\n"
    assert [item.path for item in client.list_artifacts(version.run_id)] == ["MODEL_CARD.md"]
    assert client.get_logged_model(version.source.rsplit("/", 1)[1]).status == "READY"


def test_a_long_card_is_cut_at_a_line_with_a_pointer_to_the_rest() -> None:
    card = "a line\n" * 2000
    text = shortened(card)
    assert len(text) <= MAX_DESCRIPTION
    assert text.endswith("the whole card is `MODEL_CARD.md` among the artifacts.")
    assert "a line\n\n…" in text


def card_with(consent: str, more: str = "") -> str:
    data = f"## Data and consent\nconsent: {consent}\n\nTaxonomy.{more}"
    return f"# card\n\n## Results\nsome\n\n{data}\n\n## Gates\n* passed.\n"


def test_a_registered_version_gets_the_present_terms_of_its_clips_and_keeps_the_rest(
    tmp_path: Path, mlflow_uri: str
) -> None:
    _, first = put(tmp_path, mlflow_uri, "restated", seed=0, card=card_with("unknown"))
    client = MlflowClient(mlflow_uri)
    noted = f"> **Withdrawn:** a person.\n\n{card_with('unknown')}\n\n## Notes\nSeen by Ann.\n"
    client.update_model_version("restated", first.version, noted)
    _, again = put(tmp_path, mlflow_uri, "restated", seed=0, card=card_with("in writing"))
    assert again.version == first.version
    version = client.get_model_version("restated", again.version)
    assert version.description == noted.replace("unknown", "in writing")
    beside_the_model = download("restated", again.version, CARD_NAME, into=tmp_path, tracking_uri=mlflow_uri)
    assert beside_the_model.read_text() == card_with("in writing")
    of_the_run = client.download_artifacts(version.run_id, CARD_NAME, str(tmp_path))
    assert Path(of_the_run).read_text() == card_with("in writing")


@pytest.mark.parametrize(
    "description",
    ["", "words of a person", card_with("unknown").partition("## Data")[0]],
    ids=["empty", "own", "cut before"],
)
def test_a_description_without_the_section_stays(description: str) -> None:
    assert restated(description, card_with("in writing")) == description


def test_the_section_at_the_end_of_a_shortened_description_is_replaced_before_the_note() -> None:
    before = shortened(card_with("unknown", more=" words\n" * 2000))
    after = restated(before, card_with("in writing"))
    assert after.startswith(card_with("in writing").partition("\n\n## Gates")[0])
    assert after.endswith("the whole card is `MODEL_CARD.md` among the artifacts.")
    assert "unknown" not in after
