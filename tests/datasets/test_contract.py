"""What every adapter must do alike, on a tiny corpus in its own layout; see `corpora.py`."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.alignment.align import align
from components.contracts.config import Alignment, Params
from components.contracts.errors import ConfigError, DataError
from components.contracts.fingerprint import file_sha256
from components.contracts.labels import CANONICAL
from components.contracts.layout import Layout
from components.contracts.records import Clip, clips_of
from components.datasets import registry
from components.datasets.names import scan_of
from pipelines.stages import call_stage
from tests.datasets.tiny_corpora import CORPORA

RENDERED = {"synthetic"}
NO_MEDIA = {"feature_table"}


@pytest.fixture(params=sorted(CORPORA))
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Params, Layout]:
    """A corpus on disk: its name, the configuration that names it, and the project it lies in."""
    name = request.param
    (tmp_path / "corpus").mkdir()
    section = CORPORA[name](tmp_path / "corpus")
    return name, Params(datasets=(name,), sources={name: section}), Layout(tmp_path)


def clips(name: str, layout: Layout) -> list[Clip]:
    return clips_of(pq.read_table(layout.dataset(name) / "clips.parquet"))


def test_every_corpus_has_a_fixture() -> None:
    assert set(CORPORA) == set(registry.names()) - RENDERED - NO_MEDIA


def test_clips_are_named_labelled_licensed_and_belong_to_someone(corpus: tuple[str, Params, Layout]) -> None:
    name, params, layout = corpus
    call_stage("datasets", params, layout, name)
    found = clips(name, layout)
    assert len(found) >= 2
    assert len({clip.subject_id for clip in found}) >= 2
    for clip in found:
        assert clip.dataset == name
        for identifier in (clip.clip_id, clip.subject_id, clip.session_id):
            assert identifier.startswith(f"{name}/")
        assert clip.licence
        assert clip.consent
        assert len(clip.content_sha256) == 64
        emotions = {clip.emotion, *(segment.emotion for segment in clip.segments)} - {None}
        assert emotions
        assert emotions <= set(CANONICAL)
        for path in (clip.video_path, clip.audio_path, clip.physio_path, clip.pictures_path):
            assert path is None or not Path(path).is_absolute()


def test_what_is_no_media_is_set_aside_with_its_reason_and_nothing_else(corpus: tuple[str, Params, Layout]) -> None:
    name, params, layout = corpus
    call_stage("datasets", params, layout, name)
    [row] = pq.read_table(layout.dataset(name) / "quarantine.parquet").to_pylist()
    assert row["code"] == "lfs-pointer"
    assert row["remedy"]
    assert row["path"].startswith("corpus/")


def test_every_file_of_the_corpus_is_an_input_of_the_stage(corpus: tuple[str, Params, Layout]) -> None:
    name, params, layout = corpus
    adapter = registry.adapter(name)
    places = [layout.root / place for place in adapter.places(adapter.options(params.sources[name]))]
    for path in (layout.root / "corpus").rglob("*"):
        assert any(path.is_relative_to(place) for place in places), path


def test_a_second_scan_gives_the_same_bytes(corpus: tuple[str, Params, Layout]) -> None:
    name, params, layout = corpus
    call_stage("datasets", params, layout, name)
    files = sorted(path for path in layout.dataset(name).rglob("*") if path.is_file())
    before = {path: file_sha256(path) for path in files}
    call_stage("datasets", params, layout, name)
    assert {path: file_sha256(path) for path in files} == before


def test_every_clip_can_be_aligned(corpus: tuple[str, Params, Layout]) -> None:
    name, params, layout = corpus
    call_stage("datasets", params, layout, name)
    config = Alignment.model_validate({"face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}})
    for clip in clips(name, layout):
        aligned = align(clip, config, root=layout.root)
        assert aligned.grid.num_steps >= 5
        assert bool(aligned.masks["voice"].any()) == (clip.video_path is not None or clip.audio_path is not None)
        assert bool(aligned.masks["physio"].any()) == (clip.physio_path is not None)
        assert bool(aligned.masks["face"].any()) == (clip.video_path is not None)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_under_a_name_of_its_own_it_lists_the_same(name: str, tmp_path: Path) -> None:
    section = CORPORA[name](_made(tmp_path))
    plain, named = registry.adapter(name), registry.adapter("mine", {"adapter": name})
    expected = scan_of(plain, plain.options(section), tmp_path, 7)
    scan = scan_of(named, named.options({"adapter": name, **section}), tmp_path, 7)
    ids = ("clip_id", "subject_id", "session_id")
    renamed = [{key: getattr(clip, key).replace(name, "mine", 1) for key in ids} for clip in expected.clips]
    assert [{key: getattr(clip, key) for key in ids} for clip in scan.clips] == renamed
    assert {clip.dataset for clip in scan.clips} == {"mine"}
    assert all(clip.text_id is None or clip.text_id.startswith("mine/") for clip in scan.clips)
    assert [row.clip_id for row in scan.quarantined] == [
        row.clip_id.replace(name, "mine", 1) for row in expected.quarantined
    ]
    assert plain.name == name


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_a_folder_that_is_not_there_and_an_unknown_option_are_said_clearly(name: str, tmp_path: Path) -> None:
    adapter = registry.adapter(name)
    section = {
        key: value.replace("corpus", "nowhere") if isinstance(value, str) else value
        for key, value in (CORPORA[name](_made(tmp_path)).items())
    }
    with pytest.raises(DataError, match="nowhere"):
        adapter.scan(adapter.options(section), tmp_path, 7)
    with pytest.raises(ConfigError, match=f"params.yaml: {name}"):
        adapter.options({**section, "rooot": "x"})


def _made(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    return folder
