from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from components.contracts.errors import ConfigError, DataError
from components.datasets import remote
from components.datasets.staged import Staging
from tests.datasets.objects import BUCKET, object_store


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_is_there_when_it_is_complete_and_has_the_name_of_its_content(tmp_path: Path) -> None:
    staging = Staging.of(tmp_path / "partial", store=None, stage="features", name="tiny")
    staging.prepare()
    with pytest.raises(RuntimeError):
        write(staging, b"half", dies=True)
    assert names(staging.folder) == []
    write(staging, b"whole")
    write(staging, b"whole")  # a task that is done again
    (name,) = names(staging.folder)
    assert name == f"voice/shard-{hashlib.sha256(b'whole').hexdigest()}.parquet"
    staging.bring()
    assert staging.lend([tmp_path / "a"]) == {tmp_path / "a": str(tmp_path / "a")}
    staging.clear()
    assert not staging.folder.exists()


def write(staging: Staging, data: bytes, *, dies: bool = False) -> None:
    def half(path: Path) -> None:
        path.write_bytes(data)
        assert not path.match("shard-*")
        if dies:
            raise RuntimeError

    name = staging.add("voice", half, prefix="shard-", suffix=".parquet")
    assert name == f"shard-{hashlib.sha256(data).hexdigest()}.parquet"


def test_an_object_store_stands_in_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with object_store(monkeypatch) as bucket:
        staging = Staging.of(tmp_path / "partial", store=f"s3://{BUCKET}/staged", stage="features", name="tiny")
        with pytest.raises(RuntimeError):
            write(staging, b"half", dies=True)
        write(staging, b"whole")
        assert not staging.folder.exists()
        media = tmp_path / "clip.wav"
        media.write_bytes(b"sound")
        (address,) = staging.lend([media]).values()
        with remote.opened(address) as file:
            assert file.read() == b"sound"
        bucket.put("staged/partial/features/tiny/voice/" + "0" * 64 + ".parquet", b"damaged")
        bucket.put("staged/partial/features/other/voice/" + "1" * 64 + ".parquet", b"of a different dataset")
        staging.prepare()
        staging.bring()
        (name,) = names(staging.folder)
        assert (staging.folder / name).read_bytes() == b"whole"
        staging.clear()
        left = [item.name for item in remote.listing(remote.place_of(f"s3://{BUCKET}/staged", where="test"))]
        assert left == ["partial/features/other/voice/" + "1" * 64 + ".parquet"]
        staging.clear()  # nothing is there
        with pytest.raises(DataError, match="object store"), remote.opened(address):
            pass
    with pytest.raises(ConfigError, match="not the address"):
        Staging.of(tmp_path, store="s3://", stage="features", name="tiny")


def test_a_store_that_cannot_be_cleared_is_said_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote, "remove", lambda *_: (_ for _ in ()).throw(DataError("no permission")))
    Staging.of(tmp_path / "a", store=f"s3://{BUCKET}/moods", stage="features", name="tiny").clear()
    assert "stays in s3://corpora/moods/partial/features/tiny: no permission" in capsys.readouterr().err
