from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.contracts.atomic import write_json
from components.contracts.config import Model, Runtime, Train
from components.contracts.errors import ConfigError, ModelError
from components.contracts.layout import EARLIER
from components.features.transform import Standardisation, Transform
from components.training.earlier import Earlier, Start, Taken
from components.training.job import Epoch, Job, fit_here
from components.training.loop import TrainingTask
from tests.model.toys import CLASSES, WIDTHS, Toy, toy_spec
from tests.training.earlier import write_earlier

SPEC = toy_spec(dropout=0.2, clip_head="all")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("earlier")
    write_earlier(made, SPEC)
    return made


@pytest.fixture
def earlier(folder: Path) -> Earlier:
    read = Earlier.read(folder)
    assert read is not None
    return read


def encoders(**fingerprints: str) -> dict[str, dict[str, Any]]:
    return {
        name: {"spec": "toy" if name not in fingerprints else "other", "fingerprint": "0", "width": width}
        | ({"fingerprint": fingerprints[name]} if name in fingerprints else {})
        for name, width in WIDTHS.items()
    }


def test_none_is_configured_and_damaged_files_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / EARLIER, None)
    assert Earlier.read(tmp_path) is None
    write_json(tmp_path / EARLIER, {"name": "starter"})
    with pytest.raises(ModelError, match="cannot read the earlier version"):
        Earlier.read(tmp_path)


@pytest.mark.parametrize(
    ("model", "rate_hz", "fingerprints", "words"),
    [
        (SPEC.model.model_copy(update={"width": 48, "causal": True}), 10.0, {}, "model.width: 48, model.causal: True"),
        (Model(preset="paper"), 10.0, {}, "model.preset: paper"),
        (SPEC.model, 5.0, {}, "alignment.rate_hz: 5"),
        (SPEC.model, 10.0, dict.fromkeys(WIDTHS, "9"), "face: other, text: other, voice: other"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    earlier: Earlier, model: Model, rate_hz: float, fingerprints: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=r"train\.start_from: starter") as refused:
        earlier.check(model, rate_hz=rate_hz, encoders=encoders(**fingerprints), present=set(WIDTHS))
    assert words in str(refused.value)
    assert "train.start_from: null" in str(refused.value)
    earlier.check(SPEC.model, rate_hz=10.0, encoders=encoders(face="9", text="9"), present=set(WIDTHS))
    with pytest.raises(ConfigError, match="no modality is read"):
        earlier.check(SPEC.model, rate_hz=10.0, encoders=encoders(face="9", text="9"), present={"face"})


def test_weights_and_inputs_agree_in_what_is_taken(earlier: Earlier) -> None:
    fitted = Transform(
        modalities={
            name: Standardisation(mean=np.zeros(width), std=np.ones(width), steps=5) for name, width in WIDTHS.items()
        }
    )
    under = earlier.under(fitted, encoders(text="9"))
    assert {name: float(own.mean[0]) for name, own in under.modalities.items()} == {"face": 1, "text": 0, "voice": 1}
    assert list(under.modalities) == list(fitted.modalities)


def test_it_says_what_was_taken_and_what_is_new(earlier: Earlier) -> None:
    spec = replace(SPEC, classes=(*CLASSES[:3], "calm", "rare"), absent=("rare",), modalities={**WIDTHS, "physio": 4})
    taken = earlier.taken(spec, {**encoders(face="9"), "physio": {"spec": "p", "fingerprint": "1", "width": 4}})
    assert taken.words == "starter (bundle abababababab): voice, text and 3 classes taken over; anew face, physio, calm"
    assert taken.tags()["mer.started_from.corpora"] == "before (recorded)"


def test_it_is_read_as_it_was_written(earlier: Earlier, tmp_path: Path) -> None:
    taken = earlier.taken(SPEC, encoders())
    write_json(tmp_path / "start.json", taken.to_json())
    assert Taken.read(tmp_path / "start.json") == taken
    assert Taken.read(tmp_path / "nothing.json") is None


def test_its_people_are_those_of_what_it_started_from_too(tmp_path: Path) -> None:
    write_earlier(tmp_path, SPEC, started_from={"corpora": {"first": "recorded", "before": "rendered"}})
    read = Earlier.read(tmp_path)
    assert read is not None
    assert read.corpora == {"first": "recorded", "before": "recorded"}


def test_an_interrupted_training_goes_on_bit_for_bit_and_begins_where_the_earlier_ended(
    folder: Path, tmp_path: Path
) -> None:
    start = Start(folder=folder, modalities=tuple(WIDTHS))
    train = Train(epochs=3, batch_clips=4, learning_rate=1e-9, ema_decay=0.0)
    runtime = Runtime(workers=0, checkpoint_steps=1)
    job = Job(
        task=TrainingTask(spec=SPEC, train=train, seed=3, start=start),
        items=Toy(clips=6).items,
        inputs_sha256="x",
    )
    whole = fit_here(job, tmp_path / "whole", lambda epoch: None, runtime)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_here(job, tmp_path / "again", stop, runtime)
    resumed = fit_here(job, tmp_path / "again", lambda epoch: None, runtime)
    assert all(torch.equal(value, whole.weights[name]) for name, value in resumed.weights.items())
    before = load_file(folder / "model.safetensors")
    assert all(torch.allclose(value, whole.weights[name], atol=1e-5) for name, value in before.items())
