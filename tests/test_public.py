"""The public names in Python: what they are, and that they give the answer of the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest

import mer
from components.serving.predictor import UNREGISTERED
from pipelines.commands import adapt
from pipelines.commands.predict import command
from tests.serving import media
from tests.serving.bundles import CLASSES, tiny_bundle

NAMES = {"Answer", "MerError", "Model", "load", "predict"}
MODULES = {"client", "model"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public") / "bundle"
    tiny_bundle(folder, modalities=("face", "voice"))
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("public") / "clip.mp4", seconds=1.2)


@pytest.fixture(scope="module")
def model(bundle: Path) -> mer.Model:
    return mer.load(bundle)


def test_the_names_are_these_and_each_says_what_it_is() -> None:
    assert set(mer.__all__) == NAMES == {name for name in vars(mer) if name[0] != "_"} - MODULES
    assert all(getattr(mer, name).__doc__ for name in NAMES)


def test_importing_it_imports_no_framework() -> None:
    script = "import sys, mer; print([name for name in ('torch', 'ray', 'mlflow', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_gives_the_answer_of_the_command(
    model: mer.Model, bundle: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = mer.predict(clip, version=bundle)
    assert command.run([clip], version=str(bundle), as_json=True) == 0
    assert json.loads(answer.to_json()) == json.loads(capsys.readouterr().out)
    assert model.predict(str(clip)) == answer
    assert (model.version, model.classes, model.modalities) == (UNREGISTERED, CLASSES, ("face", "voice"))


def test_a_version_is_loaded_once_however_its_folder_is_spelled(
    bundle: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mer.predict(clip, version=bundle)
    monkeypatch.setattr(command, "predictor_of", lambda *_, **__: pytest.fail("loaded again"))
    monkeypatch.chdir(bundle.parent)
    assert mer.predict(clip, version=bundle.name) == first


def test_without_a_project_the_starter_answers(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = mer.predict(clip)
    assert command.run([clip], as_json=True) == 0
    assert json.loads(answer.to_json()) == json.loads(capsys.readouterr().out)
    assert answer.model.name == "starter"
    monkeypatch.setattr(command, "predictor_of", lambda *_, **__: pytest.fail("loaded again"))
    assert mer.predict(clip) == answer


def test_recordings_adapt_the_command_and_the_call_alike(
    model: mer.Model,
    bundle: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, damaged = tmp_path / "own.safetensors", tmp_path / "b.mp4"
    damaged.write_bytes(b"damaged")
    with pytest.raises(mer.MerError, match=r"these: too few recordings .* seen 1; allowed: 5 or more"):
        adapt.measure([clip, damaged], model._predictor, name="these")
    assert "b.mp4: left out" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapt, "MIN_CLIPS", 1)
        assert adapt.run([clip], out=own, version=str(bundle)) == 0
        assert "Measured  own.safetensors (face of 1, voice of 1)" in capsys.readouterr().out
        answer = mer.predict(clip, version=bundle, adaptation=own)
        assert answer.adapted_to == "own.safetensors (face of 1, voice of 1)"
        assert command.run([clip], version=str(bundle), as_json=True, adapt=True) == 0
        itself = json.loads(capsys.readouterr().out)
        assert (itself["adapted_to"], itself["posterior"]) == ("these clips (face of 1, voice of 1)", answer.posterior)
        with pytest.raises(mer.MerError, match="exclude each other"):
            command.run([clip], version=str(bundle), adaptation=own, adapt=True)


def test_a_number_needs_a_project(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(mer.MerError, match="mer project"):
        mer.predict(clip, version="3")


def test_the_timeline_is_a_table(model: mer.Model, clip: Path) -> None:
    answer = model.predict(clip)
    table = answer.to_pandas()
    assert len(table) == len(answer.timeline)
    assert list(table.columns) == [
        *("start_s", "end_s", "emotion", "confidence", "present", "contradiction", "valence", "arousal"),
        *CLASSES,
    ]
    assert np.allclose(table[list(CLASSES)].sum(axis=1), 1, atol=1e-5)
    assert (table[list(CLASSES)].idxmax(axis=1) == table["emotion"]).all()
    assert table["present"].iloc[3] == "face+voice"


def test_the_plot_shows_every_episode_and_moment(model: mer.Model, clip: Path, tmp_path: Path) -> None:
    answer = model.predict(clip)
    drawn = answer.plot()
    assert isinstance(drawn, matplotlib.figure.Figure)
    episodes, posterior, contradiction = drawn.axes
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in episodes.patches)
    assert np.allclose(spans, [(episode.onset_s, episode.offset_s) for episode in answer.episodes])
    assert len(posterior.collections) == len(CLASSES)
    assert posterior.get_xlim() == pytest.approx((0, answer.clip.duration_s))
    assert len(contradiction.lines[0].get_xdata()) == len(answer.timeline)
    drawn.savefig(tmp_path / "answer.png")
    assert (tmp_path / "answer.png").stat().st_size > 5_000
    assert drawn._repr_png_().startswith(b"\x89PNG")  # what a notebook asks the result of a cell for
    assert str(answer.emotion) in repr(answer)
    assert len(repr(answer)) < 120


def test_what_nothing_could_be_judged_of_is_drawn_and_tabled_too(tmp_path: Path, clip: Path) -> None:
    tiny_bundle(tmp_path / "text", modalities=("text",))
    answer = mer.load(tmp_path / "text").predict(clip)
    assert answer.emotion is None
    assert answer.to_pandas()["emotion"].isna().all()
    assert answer.plot().axes[0].get_title(loc="left").endswith("no answer")


def test_errors_are_of_one_tree_and_say_what_helps(model: mer.Model, tmp_path: Path) -> None:
    with pytest.raises(mer.MerError, match="neither this folder nor one above it is a mer project"):
        mer.predict(tmp_path / "x.mp4", project=tmp_path)
    (tmp_path / "x.mp4").write_bytes(b"nothing of a video")
    with pytest.raises(mer.MerError, match=r"x\.mp4"):
        model.predict(tmp_path / "x.mp4")
