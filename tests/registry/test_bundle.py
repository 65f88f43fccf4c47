from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from components.contracts.config import Model
from components.contracts.errors import BundleError
from components.contracts.fingerprint import file_sha256
from components.contracts.pretrained import Pretrained
from components.model.published.paper_clips import PaperClipModel
from components.registry.bundle import (
    DESCRIPTION,
    FILES,
    LINEAGE,
    EncoderSpec,
    Expert,
    load_bundle,
    verify_files,
)
from tests.registry.made import CLASSES, WIDTHS, make_bundle, make_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def rewrite(folder: Path, change) -> None:
    """Changes bundle.json consistently with the format: the hashes are computed again."""
    value = json.loads((folder / DESCRIPTION).read_text())
    change(value)
    value["files"] = {name: file_sha256(folder / name) for name in value["files"] if (folder / name).is_file()} | {
        name: digest for name, digest in value["files"].items() if not (folder / name).is_file()
    }
    (folder / DESCRIPTION).write_text(json.dumps(value))


def test_a_loaded_bundle_computes_as_the_written_one(tmp_path: Path) -> None:
    sha256 = make_bundle(tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.sha256 == sha256 == file_sha256(tmp_path / "bundle" / DESCRIPTION)
    assert bundle.classes == CLASSES
    assert bundle.transform.widths == WIDTHS
    assert bundle.calibration.unimodal["voice"] == 2.0
    assert bundle.smoother.durations.mood_mean_s == 2.5
    assert bundle.lineage.git_commit == "c" * 40
    assert bundle.encoders["face"].spec == "test"
    assert set(bundle.reference.modalities) == set(WIDTHS)
    assert bundle.check_goldens(1e-6) <= 1e-6
    assert [golden.name for golden in bundle.goldens] == ["tiny/0", "tiny/1", "tiny/face-only"]


def test_experts_come_back_and_a_bundle_without_any_does_not_mention_them(tmp_path: Path) -> None:
    own = Pretrained(labels=("anger", None, "sadness"), temperature=1.5, trained_on="pictures")
    experts = {"text": Expert(encoder=EncoderSpec(spec="x", fingerprint="f", width=3), classifier=own)}
    make_bundle(tmp_path / "with", experts=experts)
    assert load_bundle(tmp_path / "with").experts == experts
    make_bundle(tmp_path / "without")
    assert "experts" not in json.loads((tmp_path / "without" / DESCRIPTION).read_text())
    assert load_bundle(tmp_path / "without").experts == {}
    rewrite(tmp_path / "with", lambda value: value["experts"]["text"]["classifier"].update(temperature=-1))
    with pytest.raises(BundleError, match="must be positive"):
        load_bundle(tmp_path / "with")


def test_the_published_model_is_bundled_with_its_goldens(tmp_path: Path) -> None:
    make_bundle(tmp_path, model_config=Model(preset="paper", standardise=False))
    bundle = load_bundle(tmp_path)
    assert isinstance(bundle.model, PaperClipModel)
    assert not bundle.transform.standardise
    assert bundle.check_goldens(1e-6) <= 1e-6
    assert {name for golden in bundle.goldens for name in golden.expected} == {"step", "clip"}
    clip = make_clip(7)
    features, masks = bundle.transform.apply(clip, 12)
    for name, encoded in clip.items():
        np.testing.assert_array_equal(features[name], encoded.values)
    scored = bundle.scorer().score(features, masks)
    assert scored.unimodal_posterior == {}
    assert scored.contradiction_pair is None
    assert np.isclose(scored.clip_posterior.sum(), 1)


def test_equal_models_have_equal_names_and_the_lineage_is_not_part_of_it(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "a")
    again = make_bundle(tmp_path / "b")
    other = make_bundle(tmp_path / "c", seed=1)
    assert first == again != other
    lineage = json.loads((tmp_path / "a" / LINEAGE).read_text())
    lineage["git_commit"] = "1" * 40
    (tmp_path / "a" / LINEAGE).write_text(json.dumps(lineage))
    assert load_bundle(tmp_path / "a").sha256 == first


def test_there_is_no_pickle_and_no_code_in_it(folder: Path) -> None:
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("name", [*FILES])
def test_one_altered_byte_is_detected_in_every_file(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(BundleError, match=rf"{name}: the file was altered"):
        load_bundle(folder)


@pytest.mark.parametrize("name", [*FILES, LINEAGE])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


def test_an_unknown_file_is_refused(folder: Path) -> None:
    (folder / "hook.py").write_text("raise SystemExit")
    with pytest.raises(BundleError, match=r"does not belong.*hook\.py"):
        load_bundle(folder)


def test_a_folder_that_is_not_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match="this folder is not a bundle"):
        load_bundle(tmp_path)


def test_a_different_format_is_refused(folder: Path) -> None:
    rewrite(folder, lambda value: value.update(format=2))
    with pytest.raises(BundleError, match=r"a different format; seen 2; allowed: 1"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "a/b", "a\\b", ""])
def test_a_name_may_not_leave_the_folder(folder: Path, name: str) -> None:
    rewrite(folder, lambda value: value["files"].update({name: "0" * 64}))
    with pytest.raises(BundleError, match="a file name must not point outside the bundle"):
        load_bundle(folder)


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    os.replace(folder / "model.safetensors", tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="only plain files"):
        load_bundle(folder)


def test_weights_of_a_different_shape_are_refused(folder: Path) -> None:
    rewrite(folder, lambda value: value["model"]["model"].update(width=32))
    with pytest.raises(BundleError, match="the weights do not fit the model"):
        load_bundle(folder)


def test_a_different_label_map_is_refused(folder: Path) -> None:
    rewrite(folder, lambda value: value.update(classes=["anger", "neutral", "happiness", "sadness"]))
    with pytest.raises(BundleError, match="the label map and the model disagree"):
        load_bundle(folder)


def test_a_different_feature_width_is_refused(folder: Path) -> None:
    rewrite(folder, lambda value: value["encoders"]["face"].update(width=7))
    with pytest.raises(BundleError, match=r"face: the encoder does not fit the model; seen 7; allowed: 6"):
        load_bundle(folder)


@pytest.mark.parametrize(("key", "value"), [("width", 1 << 30), ("tcn_blocks", 1 << 20), ("tcn_kernel", 1 << 20)])
def test_a_model_that_would_exhaust_memory_is_refused_before_it_is_built(folder: Path, key: str, value: int) -> None:
    rewrite(folder, lambda described: described["model"]["model"].update({key: value}))
    with pytest.raises(BundleError, match="larger than this code allows"):
        load_bundle(folder)


@pytest.mark.parametrize("key", ["calibration", "smoothing", "alignment", "encoders", "model", "taxonomy"])
def test_an_incomplete_description_names_what_is_missing(folder: Path, key: str) -> None:
    rewrite(folder, lambda value: value.pop(key))
    with pytest.raises(BundleError, match=key):
        load_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_description_that_is_not_a_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / DESCRIPTION).write_text(text)
    with pytest.raises(BundleError):
        verify_files(folder)


def test_a_huge_description_is_refused_unread(folder: Path) -> None:
    with (folder / DESCRIPTION).open("r+b") as stream:
        stream.truncate(1 << 33)  # sparse: 8 GiB on paper
    with pytest.raises(BundleError, match="too large"):
        verify_files(folder)


def test_goldens_fail_when_the_model_computes_something_else(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(weights) if name.startswith("clip_head") and weights[name].ndim == 2)
    weights[name] = weights[name] + np.float32(0.5) * np.random.default_rng(0).normal(size=weights[name].shape).astype(
        "f4"
    )
    save_file(weights, folder / "model.safetensors")
    rewrite(folder, lambda value: None)
    with pytest.raises(BundleError, match=r"the golden examples do not hold.*at most 0.0001"):
        load_bundle(folder).check_goldens(1e-4)


def test_goldens_fail_on_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        weights[name] = np.full_like(weights[name], np.nan)
    save_file(weights, folder / "model.safetensors")
    rewrite(folder, lambda value: None)
    with pytest.raises(BundleError, match="the golden examples do not hold"):
        load_bundle(folder).check_goldens(1e-4)


def test_a_loaded_bundle_scores_a_new_clip(folder: Path) -> None:
    bundle = load_bundle(folder)
    features, masks = bundle.transform.apply(make_clip(7, 9), 9)
    scored = bundle.scorer().score(features, masks)
    assert scored.step_posterior.shape == (9, len(CLASSES))
    np.testing.assert_allclose(scored.clip_posterior.sum(), 1, rtol=1e-6)
    assert set(bundle.reference.judge(features, masks)) == set(WIDTHS)


def test_it_names_whom_the_version_that_it_started_from_learned_from(tmp_path: Path) -> None:
    started = {"name": "starter", "corpora": {"faces": "recorded", "tiny": "recorded"}}
    make_bundle(tmp_path / "one", corpora={"tiny": "rendered"}, started_from=started)
    description = load_bundle(tmp_path / "one").description
    assert description.learned_from == {"faces": "recorded", "tiny": "rendered"}
    assert description.started_from == started
    make_bundle(tmp_path / "other", corpora={"tiny": "rendered"})
    assert "started_from" not in load_bundle(tmp_path / "other").description.to_json()
