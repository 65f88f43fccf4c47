from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event

import pytest

from components.contracts.fingerprint import file_sha256
from components.contracts.records import Word
from components.datasets import content
from components.datasets.content import HashCache, content_of, content_sha256, media_sha256
from tests.builders import make_clip


def test_the_hash_covers_media_and_words_but_neither_names_nor_labels(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"sound")
    (tmp_path / "renamed.wav").write_bytes(b"sound")
    (tmp_path / "b.wav").write_bytes(b"other")
    clip = make_clip(audio_path="a.wav", transcript="hi", words=(Word(text="hi", start_s=0.0, end_s=0.2),))
    base = content_sha256(clip, tmp_path)
    assert content_sha256(replace(clip, audio_path="renamed.wav", emotion="fear"), tmp_path) == base
    changed = [
        replace(clip, audio_path="b.wav"),
        replace(clip, audio_path=None, video_path="a.wav"),
        replace(clip, transcript="ho"),
        replace(clip, words=(Word(text="hi", start_s=0.1, end_s=0.2),)),
        replace(clip, start_s=0.5),
        replace(clip, end_s=0.5),
        replace(clip, crop=(0.0, 0.0, 0.5, 1.0)),
        replace(clip, audio_track=2),
        replace(clip, video_track=2),
    ]
    hashes = {content_sha256(other, tmp_path) for other in changed}
    assert len(hashes | {base}) == len(changed) + 1


def test_the_cache_reads_an_unchanged_file_once(tmp_path: Path) -> None:
    file, store = tmp_path / "a.wav", tmp_path / "cache.json"
    file.write_bytes(b"first")
    cache = HashCache(store)
    first = cache(file)
    assert first == file_sha256(file)
    cache.save()
    status = file.stat()
    # Same size and time, other bytes: only a cache that did not read the file gives the old hash.
    file.write_bytes(b"other")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert HashCache(store)(file) == first
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert HashCache(store)(file) == file_sha256(file) != first


def test_a_recording_of_many_clips_is_read_once_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"first")
    read: list[Path] = []
    together = Barrier(4)

    def slow(path: Path) -> str:
        read.append(path)
        Event().wait(0.05)  # long enough for the others to ask
        return file_sha256(path)

    def ask(_: int) -> str:
        together.wait()
        return cache(file)

    monkeypatch.setattr(content, "file_sha256", slow)
    cache = HashCache(tmp_path / "cache.json")
    with ThreadPoolExecutor(4) as pool:
        hashes = set(pool.map(ask, range(4)))
    assert hashes == {file_sha256(file)}
    assert read == [file]


def test_the_files_of_a_corpus_are_read_once_for_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / "corpus"
    for name in ("a.wav", "deep/b.txt", "crops/1.jpg", "crops/2.jpg", "crops/notes.txt", ".hidden"):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).write_bytes(name.encode())
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return media_sha256(path)

    monkeypatch.setattr(content, "media_sha256", counted)
    inputs = HashCache(tmp_path / "inputs.json")
    listed = content_of(corpus, inputs)
    inputs.save()
    assert [(name, size) for name, size, _ in listed] == [
        ("a.wav", 5),
        ("crops", 22),
        ("crops/notes.txt", 15),
        ("deep/b.txt", 10),
    ]
    assert sorted(read) == ["a.wav", "b.txt", "crops", "notes.txt"]
    read.clear()
    assert content_of(corpus, HashCache(tmp_path / "inputs.json")) == listed
    clips = HashCache(tmp_path / "clips.json", known=tmp_path / "inputs.json")
    assert clips(corpus / "a.wav") == listed[0][2]
    assert clips(corpus / "crops") == listed[1][2]
    assert not read
    assert str(corpus) not in (tmp_path / "inputs.json").read_text()
    [alone] = content_of(corpus / "crops" / "notes.txt", inputs)
    assert alone[:2] == (".", 15)
    assert content_of(corpus / "gone", inputs) == []


def test_a_damaged_cache_is_the_same_as_none(tmp_path: Path) -> None:
    file, store = tmp_path / "a.wav", tmp_path / "cache.json"
    file.write_bytes(b"first")
    for damage in ("{", "[]", '{"x": [1]}'):
        store.write_text(damage)
        assert HashCache(store)(file) == file_sha256(file)
