from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.datasets.remote import is_mirror
from pipelines.cli import call
from pipelines.commands.datasets.settings import settings
from tests.datasets.tiny_corpora import CORPORA


@pytest.fixture
def cremad(project: Path) -> Path:
    """CREMA-D beside the project, which neither uses it nor has a section for it."""
    corpus = project.parent / "CREMA-D"
    corpus.mkdir()
    CORPORA["cremad"](corpus)
    return corpus


def test_one_table_says_what_is_used_and_what_not_and_why(
    project: Path, cremad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project / "params.yaml").read_bytes()
    assert call(["datasets", "check", "cremad", "--root", "../CREMA-D"]) == 0
    shown = capsys.readouterr().out
    assert "lfs-pointer" in shown
    assert "AudioWAV/1001_WSI_HAP_MD.wav" in shown
    assert "Run `git lfs pull`" in shown
    assert "same bytes" in shown
    assert "people     2" in shown
    assert "validation requires" in shown
    assert (project / "params.yaml").read_bytes() == before
    assert not (project / "data").exists()
    assert list((project / ".mer").iterdir()) == []


def test_other_options_count_for_the_call_and_the_json_says_it_all(
    project: Path, cremad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["datasets", "check", "cremad", "--root", str(cremad), "--set", "cremad.label=both", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["places"] == [str(cremad)]
    assert found["reasons"]["clip-without-label"]["clips"] == 1
    assert (found["used"], found["skipped"]) == (2, 2)


def test_strict_fails_where_anything_is_skipped(cremad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["datasets", "check", "cremad", "--root", str(cremad), "--strict"]) == 3
    capsys.readouterr()


def test_a_corpus_of_which_nothing_can_be_used_is_told_all_the_same(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "other" / "anger").mkdir(parents=True)
    (project / "other" / "anger" / "a.wav").write_text("")
    terms = ["--set", "folder.licence=CC0", "--set", "folder.consent=given"]
    assert call(["datasets", "check", "folder", "--root", "other", *terms]) == 3
    assert "empty-file" in capsys.readouterr().out


def test_what_is_wrong_with_the_call_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["datasets", "check", "emodbb"]) == 2
    assert "Did you mean 'emodb'?" in capsys.readouterr().err
    assert call(["datasets", "check", "manifest", "--root", "x"]) == 2
    assert "--set manifest.table=" in capsys.readouterr().err
    assert call(["datasets", "check", "emodb", "--root", "nowhere"]) == 3
    assert "nowhere" in capsys.readouterr().err
    assert call(["datasets", "check", "emodb", "--root", ".", "--set", "emodb.rooot=x"]) == 2
    assert "Did you mean 'root'?" in capsys.readouterr().err


def test_a_root_in_an_object_store_is_no_folder_here(project: Path) -> None:
    chosen = settings("emodb", root="s3://bucket/berlin")
    assert [is_mirror(place) for place in chosen.adapter.places(chosen.options)] == [True]
    (place,) = settings("emodb", root="berlin").adapter.places(settings("emodb", root="berlin").options)
    assert place == project / "berlin"
