from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.errors import ConfigError, DataError
from components.datasets.base import corpus_folder, media_files, stored_path
from components.datasets.registry import ADAPTERS, adapter, names


@pytest.mark.parametrize(
    ("dataset", "section", "words"),
    [
        ("synthetic", {"subject": 3}, ["params.yaml: synthetic: subject", "unknown key", "Did you mean 'subjects'?"]),
        ("ravdess", {}, ["params.yaml: ravdess: root", "Field required"]),
        ("ravdess", {"rot": "x"}, ["params.yaml: ravdess: rot", "unknown key", "Did you mean 'root'?"]),
        ("ravdess", {"root": "x", "chanels": []}, ["ravdess: chanels", "Did you mean 'channels'?"]),
        ("ravdess", {"root": "x", "channels": ["opera"]}, ["ravdess: channels.0", "'opera'", "'speech' or 'song'"]),
        ("synthetic", {"subjects": 0}, ["synthetic: subjects", "greater than 0", "0"]),
    ],
)
def test_a_wrong_section_says_what_and_where(dataset: str, section: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        adapter(dataset).options(section)
    for word in words:
        assert word in str(caught.value)


def test_a_corpus_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist.*nowhere.*params\.yaml") as caught:
        corpus_folder("nowhere", tmp_path, dataset="ravdess")
    assert caught.value.code == "no-such-folder"
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="a file, not a folder"):
        corpus_folder("file", tmp_path, dataset="ravdess")


def test_rows_keep_the_folder_as_it_was_given(tmp_path: Path) -> None:
    project, corpus = tmp_path / "project", tmp_path / "corpus"
    (corpus / "deep").mkdir(parents=True)
    project.mkdir()
    (corpus / "deep" / "b.WAV").touch()
    (corpus / "a.wav").touch()
    (corpus / "notes.txt").touch()
    folder = corpus_folder("../corpus", project, dataset="x")
    found = media_files(folder, (".wav",))
    assert [path.name for path in found] == ["a.wav", "b.WAV"]
    assert [stored_path(path, folder, "../corpus") for path in found] == ["../corpus/a.wav", "../corpus/deep/b.WAV"]
    assert stored_path(found[0], folder, str(corpus)) == str(corpus / "a.wav")


def test_every_adapter_is_registered_under_its_own_name() -> None:
    assert names() == tuple(ADAPTERS)
    for name, entry in ADAPTERS.items():
        assert entry.name == name
        assert entry.licence


def test_links_are_followed_once_and_a_link_to_nothing_is_a_missing_recording(tmp_path: Path) -> None:
    corpus, disk = tmp_path / "corpus", tmp_path / "disk"
    for folder in (corpus / "one", disk):
        folder.mkdir(parents=True)
        (folder / "a.wav").touch()
    (corpus / "elsewhere").symlink_to(disk)
    (corpus / "first").symlink_to("one")  # within the corpus: counted by its own name
    (corpus / "one" / "up").symlink_to(corpus)
    (corpus / "gone.wav").symlink_to("../.git/annex/none")
    found = [path.relative_to(corpus).as_posix() for path in media_files(corpus, (".wav",))]
    assert found == ["elsewhere/a.wav", "gone.wav", "one/a.wav"]
