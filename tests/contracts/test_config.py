from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.contracts import config
from components.contracts.config import Section, load_params, meaning, parse_params
from components.contracts.errors import ConfigError

KNOWN = ("synthetic", "ravdess")
ROOT = Path(__file__).resolve().parents[2]
SMALL_WORDS = {"a", "an", "the", "of", "is", "it", "in", "to"}


def every_section() -> list[type[Section]]:
    """Every kind of section that the project has, wherever it is defined."""
    for package in ("components", "pipelines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if re.search(r"\bclass \w+\((Section|Terms)\)", path.read_text(encoding="utf-8")):
                importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))

    def below(kind: type[Section]) -> Iterator[type[Section]]:
        for section in kind.__subclasses__():
            yield section
            yield from below(section)

    return [section for section in below(Section) if not section.__module__.startswith("tests.")]


def test_the_committed_configuration_is_valid() -> None:
    from components.datasets.registry import names

    params = load_params(ROOT / "params.yaml", names())
    assert params.datasets


def test_left_out_keys_take_their_defaults() -> None:
    params = parse_params({}, KNOWN)
    assert params.datasets == ("synthetic",)
    assert params.alignment.rate_hz == 10.0


def test_a_datasets_section_is_kept_for_its_adapter() -> None:
    params = parse_params({"datasets": ["ravdess"], "ravdess": {"root": "corpus"}}, KNOWN)
    assert params.sources["ravdess"] == {"root": "corpus"}


def test_a_section_that_names_its_adapter_is_a_dataset_of_its_own() -> None:
    raw = {"datasets": ["speech", "ravdess"], "speech": {"adapter": "ravdess", "root": "a"}, "ravdess": {"root": "b"}}
    params = parse_params(raw, KNOWN)
    assert params.datasets == ("speech", "ravdess")
    assert params.sources == {"speech": {"adapter": "ravdess", "root": "a"}, "ravdess": {"root": "b"}}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"modle": {}}, ["unknown key", "modle", "Did you mean 'model'?"]),
        ({"alignment": {"fac": {}}}, ["alignment.fac", "Did you mean 'face'?"]),
        ({"alignment": {"face": {"crop_pix": 3}}}, ["alignment.face.crop_pix", "Did you mean 'crop_px'?"]),
        ({"datasets": ["synthetc"]}, ["unknown dataset", "synthetc", "Did you mean 'synthetic'?"]),
        ({"datasets": []}, ["at least one dataset"]),
        ({"datasets": ["ravdess", "ravdess"]}, ["named twice"]),
        ({"train": {"workers": 4}}, ["train.workers: this setting has moved; seen 4", "write runtime.workers"]),
        ({"train": {"checkpoint_epochs": 4}}, ["write runtime.checkpoint_minutes or runtime.checkpoint_steps"]),
        ({"runtime": {"workers": 2, "min_workers": 3}}, ["min_workers must be at most runtime.workers"]),
        ({"runtime": {"workers": 1, "shard": True}}, ["runtime.workers is 1: set it to 2 or more"]),
        ({"runtime": {"shard": True}, "train": {"compile": True}}, ["runtime.shard shares them out", "one of them"]),
        ({"train": {"epochs": -1}}, ["train.epochs", "greater than 0", "-1"]),
        ({"labels": {"taxonomy": "abaw9"}}, ["unknown taxonomy", "abaw9", "Did you mean 'abaw8'?"]),
        ({"features": {"encoders": {"smell": "nose"}}}, ["unknown modality", "smell", "face, voice"]),
        ({"features": {"encoders": {}}}, ["at least one modality"]),
        ({"train": {"contrastive_prompt": "a happy person"}}, ["train.contrastive_prompt", "{emotion}"]),
        ({"train": {"contrastive_prompt": "{emotion} {level}"}}, ["train.contrastive_prompt", "no other braces"]),
        ({"train": {"step_loss": 0, "clip_loss": 0}}, ["train", "nothing would teach the classes"]),
        ({"model": {"fusion": "product"}, "train": {"unimodal_loss": 0}}, ["fusion: product", "unimodal_loss"]),
        ({"model": {"fusion": "prodct"}}, ["model.fusion", "product"]),
        ({"train": {"precision": "fp16"}}, ["train.precision", "bf16"]),
        (["datasets"], ["must be a mapping", "list"]),
        ({"faces": {"adapter": "manifst"}}, ["unknown adapter", "faces.adapter", "manifst"]),
        ({"ravdess": {"adapter": "synthetic"}}, ["a meaning of its own", "ravdess"]),
        ({"train": {"adapter": "synthetic"}}, ["a meaning of its own", "train"]),
        ({"My faces": {"adapter": "synthetic"}}, ["cannot be the name of a dataset", "My faces", "lower-case"]),
        ({"datasets": ["faces"], "faces": {"root": "x"}}, ["unknown key", "faces"]),
    ],
)
def test_a_wrong_configuration_says_what_and_where(raw: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_params(raw, KNOWN)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params\.yaml: cannot read"):
        load_params(tmp_path / "params.yaml", KNOWN)


def test_broken_yaml_is_said(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("datasets: [synthetic", encoding="utf-8")
    with pytest.raises(ConfigError, match="no valid YAML"):
        load_params(path, KNOWN)


def test_sections_are_frozen() -> None:
    params = parse_params({}, KNOWN)
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 8  # type: ignore[misc]


def test_every_setting_says_what_it_means() -> None:
    sections = every_section()
    names = {section.__name__ for section in sections}
    assert {"Model", "Drift", "RavdessOptions", "FeatureTableOptions", "Schedule"} <= names
    bare = []
    for section in sections:
        for name, field in section.model_fields.items():
            text = meaning(field)
            own = {word for word in re.findall(r"[\w'-]+", text.lower()) if word not in SMALL_WORDS}
            if not text.endswith(".") or len(own - set(name.split("_"))) < 2:
                bare.append(f"{section.__name__}.{name}: {text!r}")
    assert not bare


def test_every_section_says_what_it_is_about() -> None:
    for section in every_section():
        assert (section.__doc__ or "").strip(), section.__name__
        assert "Attributes:" not in (section.__doc__ or ""), f"{section.__name__}: say it below each field"


def test_the_package_offers_what_it_lists() -> None:
    assert all(hasattr(config, name) for name in config.__all__)
    defined = {kind.__name__ for kind in every_section() if kind.__module__.startswith(config.__name__)}
    assert defined < set(config.__all__)
