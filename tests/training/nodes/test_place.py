from __future__ import annotations

import pickle
import platform
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from components.contracts.config import Runtime, Train
from components.contracts.errors import ConfigError, ModelError
from components.datasets import remote
from components.training.job import CHECKPOINTS, Epoch, Job, resume_name
from components.training.loop import TrainingTask
from components.training.nodes.place import Place
from components.training.profiling import TRACE
from tests.datasets.objects import BUCKET, object_store
from tests.model.toys import Toy, toy_spec

STORE = f"s3://{BUCKET}/moods"
TASK = TrainingTask(spec=toy_spec(), train=Train(epochs=1, batch_clips=2), seed=1)
JOB = Job(task=TASK, items=Toy(clips=2).items, inputs_sha256="x")
EPOCH = Epoch(record={"epoch": 0, "loss": 1.0}, seconds=1.0, steps=1)


def test_nodes_that_share_a_folder_have_the_state_there(tmp_path: Path) -> None:
    place = Place.of(JOB, tmp_path, Runtime())
    (tmp_path / "before").touch()
    with place.here() as folder:
        assert folder == tmp_path
        place.progress().append(EPOCH)
    assert (tmp_path / "before").exists()
    assert list(place.progress().news()) == [EPOCH]
    assert place.for_ray() == {"storage_path": str(tmp_path)}


def test_nodes_that_share_none_have_it_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first worker's folder begins empty and goes, its trace and progress reach who started the training."""
    started, node = tmp_path / "started", tmp_path / "node"
    for folder in (started, node):
        folder.mkdir()
    with object_store(monkeypatch) as bucket:
        bucket.clear()
        runtime = Runtime(store=STORE)
        place: Place = pickle.loads(pickle.dumps(Place.of(JOB, started, runtime)))
        monkeypatch.setattr(tempfile, "tempdir", str(node))
        with suppress(RuntimeError), place.here() as folder:
            (folder / CHECKPOINTS).mkdir()
            raise RuntimeError("this worker is lost, and leaves what it has")
        assert (folder / CHECKPOINTS).is_dir()
        with place.here() as folder:
            assert list(folder.iterdir()) == []
            (folder / TRACE).write_text("{}")
            place.progress().append(EPOCH)
            storage = place.for_ray()
            storage["storage_filesystem"].create_dir(f"{storage['storage_path']}/ray")
        assert not folder.exists()
        assert list(place.progress().news()) == [EPOCH]
        place.take_trace()
        assert [path.name for path in started.iterdir()] == [TRACE]
        names = [item.name for item in remote.listing(remote.place_of(STORE, where="store"))]
        assert names == [f"runs/{place.name}/progress/00000000.json", f"runs/{place.name}/{TRACE}"]
        place.forget()
        assert remote.listing(remote.place_of(STORE, where="store")) == []
    place.forget()  # a store that is away ends nothing


def test_checkpoints_are_copied_into_the_store_unless_there_is_a_place_for_them(tmp_path: Path) -> None:
    def address(**runtime: str) -> str | None:
        copies = JOB.checkpoints(tmp_path, Runtime.model_validate(runtime)).copies
        return None if copies is None else copies.address

    name = resume_name("x")
    assert address() is None
    assert address(store=f"{STORE}/") == f"{STORE}/checkpoints/{name}"
    assert address(store=STORE, checkpoints="s3://elsewhere/state") == f"s3://elsewhere/state/{name}"


def test_a_node_with_different_code_is_named(tmp_path: Path) -> None:
    place = Place.of(JOB, tmp_path, Runtime(store=STORE))
    place.check_code(JOB)
    with pytest.raises(ModelError, match=rf"{platform.node()}: .*different code.*seen.*{place.name}.*same commit"):
        place.check_code(replace(JOB, inputs_sha256="y"))  # as its name is where the code differs


def test_an_address_that_is_none_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.store.*s3://bucket/prefix"):
        Place.of(JOB, tmp_path, Runtime(store="/mnt/share"))
