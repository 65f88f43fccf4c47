from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.contracts.config import Params, Section
from components.contracts.errors import ConfigError
from components.datasets.registry import ADAPTERS
from pipelines.cli import call
from pipelines.commands.config.command import command
from pipelines.commands.config.settings import Setting, every_setting, select
from pipelines.project import load


def configured(project: Path, text: str) -> dict[str, Setting]:
    (project / "params.yaml").write_text(text, encoding="utf-8")
    return {setting.key: setting for setting in every_setting(load(project))}


def leaves(section: type[Section], prefix: str) -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        kind = field.annotation
        inner = isinstance(kind, type) and issubclass(kind, Section)
        keys += leaves(kind, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def test_every_setting_is_listed_once_and_explained() -> None:
    keys = [key for key in leaves(Params, "") if key != "sources"]
    keys += [key for name, adapter in ADAPTERS.items() for key in leaves(adapter.Options, f"{name}.")]
    settings = list(every_setting(Params()))
    assert [setting.key for setting in settings] == keys
    for setting in settings:
        assert setting.meaning, setting.key
        assert setting.allowed, setting.key
        assert setting.needed or setting.value == setting.default, setting.key


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("seed", "integer"),
        ("labels.taxonomy", "abaw8 | ravdess8 | iemocap4 | iemocap6 or mapping of names to list of text"),
        ("train.epochs", "integer, > 0"),
        ("model.dropout", "number, ≥ 0, < 1"),
        ("model.preset", "default | paper"),
        ("runtime.use_gpu", "true | false"),
        ("catalog.folds", "integer, ≥ 3 or corpus or null"),
        ("features.encoders", "mapping of names to text"),
        ("alignment.voice.rate_hz", "16000"),
        ("synthetic.picture_px", "integer, ≥ 128, ≤ 1024, multiple of 2"),
        ("ravdess.channels", "list of speech | song, not empty"),
        ("folder.licence", "text, not empty"),
    ],
)
def test_allowed_values_in_words(key: str, words: str) -> None:
    settings = {setting.key: setting for setting in every_setting(Params())}
    assert settings[key].allowed == words


def test_the_datasets_are_listed() -> None:
    (datasets,) = select("datasets", Params())
    assert all(name in datasets.allowed for name in ADAPTERS)


def test_a_value_has_its_origin(project: Path) -> None:
    settings = configured(project, "train: {epochs: 5}\nravdess: {root: /data/ravdess}\n")
    epochs, workers = settings["train.epochs"], settings["runtime.workers"]
    assert (epochs.value, epochs.origin, epochs.default) == (5, "params.yaml", 30)
    assert (workers.value, workers.origin) == (workers.default, "default")
    root, channels = settings["ravdess.root"], settings["ravdess.channels"]
    assert (root.value, root.origin, root.needed) == ("/data/ravdess", "params.yaml", True)
    assert (channels.value, channels.origin) == (["speech"], "default")
    assert (settings["iemocap.root"].origin, settings["iemocap.root"].shown) == ("not set", "-")


def test_a_preset_is_named_where_it_sets_or_does_not_use_the_value(project: Path) -> None:
    settings = configured(project, "model: {preset: paper}\ntrain: {epochs: 5}\n")
    rate, epochs, width = settings["train.learning_rate"], settings["train.epochs"], settings["model.width"]
    assert (rate.value, rate.origin, rate.default) == (1e-5, "preset paper", 2e-3)
    assert (epochs.value, epochs.origin) == (5, "params.yaml")
    assert width.origin == "unused by preset paper"
    assert settings["runtime.workers"].origin == "default"


def test_the_default_is_the_value_when_the_key_is_left_out(project: Path) -> None:
    whole = configured(project, "serving: {port: 0}\n")["serving.upload_limits.max_duration_s"]
    assert (whole.value, whole.default, whole.origin) == (300.0, 300.0, "default")
    part = configured(project, "serving: {upload_limits: {max_bytes: 1000}}\n")
    size, duration = part["serving.upload_limits.max_bytes"], part["serving.upload_limits.max_duration_s"]
    assert (size.value, size.origin) == (1000, "params.yaml")
    assert (duration.value, duration.default, duration.origin) == (1800.0, 1800.0, "default")


def test_all_sections_and_the_datasets_in_use(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("datasets: [synthetic]\nravdess: {root: corpus}\n", encoding="utf-8")
    assert call(["config"]) == 0
    shown = capsys.readouterr().out
    for section in set(Params.model_fields) - {"datasets", "seed", "sources"}:
        assert f"\n{section}: " in shown
    assert "\nsynthetic: " in shown
    assert "\nravdess: " in shown
    assert "\niemocap: " not in shown
    assert f"Values of {project / 'params.yaml'}." in shown
    assert not any(line.endswith(" ") for line in shown.splitlines())


def test_one_section_is_one_table(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["config", "registry"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "registry: The registered model."
    assert shown[2].split() == ["key", "value", "from", "meaning"]
    assert any("(default mer; text)" in text for text in shown)


def test_a_part_of_a_section(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["config", "alignment.face"]) == 0
    shown = capsys.readouterr().out
    assert "face.crop_px" in shown
    assert "voice" not in shown.split("\n\n", 1)[1]


def test_long_text_wraps_to_the_width(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = command("catalog")
    assert max(map(len, shown.splitlines()[4:])) <= 80
    assert "use_corpus_splits" in shown


def test_one_key_in_full(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("train: {epochs: 5}\n", encoding="utf-8")
    assert call(["config", "train.epochs"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line)
    assert rows["value"] == "5"
    assert rows["from"] == "params.yaml"
    assert rows["default"] == "30"
    assert rows["allowed"] == "integer, > 0"
    assert "training clips" in rows["meaning"]


def test_json_for_machines(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["config", "ravdess.root", "--json"]) == 0
    (root,) = json.loads(capsys.readouterr().out)
    assert (root["key"], root["value"], root["origin"], root["needed"]) == ("ravdess.root", None, "not set", True)
    assert call(["config", "--json"]) == 0
    everything: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert {"features.encoders", "synthetic.subjects"} <= {entry["key"] for entry in everything}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("trian", "'train'"),
        ("train.epoch", "'train.epochs'"),
        ("alignment.fac", "'alignment.face'"),
        ("ravdes", "'ravdess'"),
        ("epochs", "'train.epochs' or 'ablate.epochs'"),
        ("sources", ""),
    ],
)
def test_an_unknown_name_gives_the_nearest(name: str, nearest: str, project: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        command(name)
    assert name in str(caught.value)
    assert nearest in (caught.value.remedy or "")
    assert call(["config", name]) == 2


def test_outside_of_a_project_values_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "Not in a project" in command()
    assert "30" in command("train.epochs")


def test_a_wrong_configuration_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "params.yaml").write_text("train: {epochs: 0}\n", encoding="utf-8")
    assert call(["config", "train"]) == 2
    assert "train.epochs" in capsys.readouterr().err
