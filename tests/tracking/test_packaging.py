from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import yaml

from components.contracts.errors import UnavailableError
from components.contracts.requirements import pinned_requirements
from components.registry.register import LOADER_MODULE
from components.tracking.packaging import write_model_folder
from tests.registry.made import make_bundle
from tests.small_disk import small_disk

pytestmark = pytest.mark.integration


def test_the_mlflow_model_has_a_signature_pinned_requirements_and_no_code(tmp_path: Path) -> None:
    make_bundle(tmp_path / "made")
    write_model_folder(
        tmp_path / "model", tmp_path / "made", loader_module=LOADER_MODULE, requirements=pinned_requirements()
    )
    described = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    flavor = described["flavors"]["python_function"]
    assert set(described["flavors"]) == {"python_function"}
    assert flavor["loader_module"] == "components.serving.flavor"
    assert flavor["code"] is None
    assert flavor["data"] == "data/bundle"
    columns = {column["name"]: column["required"] for column in json.loads(described["signature"]["inputs"])}
    assert columns == {"path": True, "transcript": False, "video_track": False, "audio_track": False}
    pinned = (tmp_path / "model" / "requirements.txt").read_text().split()
    assert all("==" in line for line in pinned)
    assert {line.split("==")[0] for line in pinned} >= {"torch", "numpy", "safetensors", "av"}
    suffixes = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert suffixes <= {"", ".json", ".safetensors", ".yaml", ".txt"}


def test_a_temporary_folder_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "made")
    size = sum(path.stat().st_size for path in (tmp_path / "made").rglob("*"))
    with small_disk(tmp_path / "small", kib=max(8, size // 2 >> 10)) as small:
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(UnavailableError, match="the disk is full") as refused:
            write_model_folder(tmp_path / "model", tmp_path / "made", loader_module=LOADER_MODULE, requirements=[])
        assert refused.value.where == str(small)
        assert str(refused.value.seen).startswith("0.0 of ")
        assert list(small.iterdir()) == []
