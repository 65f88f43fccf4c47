from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from components.contracts.errors import UnavailableError
from components.runtime.checkpoint import Checkpoint, content_sha256, load_model, locate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20)
    BertModel(config).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def test_a_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(str(folder)) == folder
    monkeypatch.chdir(folder.parent)
    assert locate("net") == folder


def test_a_folder_without_weights_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnavailableError, match="not a transformers checkpoint"):
        locate(str(folder))


def test_a_name_that_is_not_cached_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"cannot be fetched.*transformers:FOLDER"):
        locate("nobody/nothing@main")


def test_identity_is_content_not_place(folder: Path, tmp_path: Path) -> None:
    before = Checkpoint("transformers:net", str(folder), "cpu").content_fingerprint(1)
    moved = folder.rename(tmp_path / "elsewhere")
    assert Checkpoint("transformers:elsewhere", str(moved), "cpu").content_fingerprint(1) == before
    assert Checkpoint("transformers:elsewhere", str(moved), "cpu").content_fingerprint(2) != before
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x01\x02\x03\x04")
    assert Checkpoint("transformers:elsewhere", str(moved), "cpu").content_fingerprint(1) != before


def test_precision_is_part_of_the_identity(folder: Path) -> None:
    on_cpu, on_gpu = (Checkpoint("x", str(folder), device).content_fingerprint(1) for device in ("cpu", "cuda"))
    assert on_cpu != on_gpu


def test_configuration_is_part_of_the_identity(folder: Path) -> None:
    before = content_sha256(folder)
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0, 0, 0]}')
    assert content_sha256(folder) != before


def test_models_are_frozen(folder: Path) -> None:
    model = load_model("AutoModel", folder, "cpu")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_broken_checkpoint_is_named(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-type"}')
    with pytest.raises(UnavailableError, match="transformers cannot load"):
        load_model("AutoModel", folder, "cpu")


def test_missing_weights_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnavailableError, match=r"lacks 1 weights.*encoder\.layer\.0\.output\.dense\.weight"):
        load_model("AutoModel", folder, "cpu")
