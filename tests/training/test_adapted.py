"""With the real encoder: what the layers give before they learn, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.catalog.cases import Case
from components.contracts.config import Model, Runtime, Train
from components.contracts.errors import ConfigError
from components.features.encoders.whisper_tiny import WhisperFrames, WhisperTiny
from components.model.build import build_model
from components.model.files import load_weights
from components.model.spec import ModelSpec
from components.training.adapted import check_adapted, load_bases, upper_of
from components.training.job import Epoch, Job, fit_here
from components.training.loop import TrainingTask, new_learner
from components.training.samples.items import collate
from tests.builders import make_aligned_clip

ENCODERS = {"voice": {"spec": "whisper-tiny-frames"}, "face": {"spec": "fer"}}
WIDTHS = {"voice": WhisperFrames.width}


def spec_of(train: Train) -> ModelSpec:
    model = Model(width=8, heads=2, tcn_blocks=1, statistics_width=8)
    upper = upper_of(train, ENCODERS, WIDTHS)
    return ModelSpec(modalities=WIDTHS, classes=("falls", "rises"), model=model, upper=upper)


def train_of(**adapt: Any) -> Train:
    return Train.model_validate({"epochs": 2, "batch_clips": 4, "adapt": {"voice": adapt}})


def sound(index: int, *, steps: int = 8) -> np.ndarray:
    """A tone that falls or rises, by turns."""
    time_s = np.arange(steps * 1600) / 16000
    phase = 2 * np.pi * (200 + 10 * index + (60 if index % 2 else -60) * time_s) * time_s
    return np.asarray(0.3 * np.sin(phase) * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def items() -> list[Case]:
    clips = [make_aligned_clip(f"{index}", steps=8, pcm=sound(index)) for index in range(6)]
    return [
        Case(
            clip_id=clip.clip_id,
            dataset="tones",
            subject_id=clip.clip_id,
            features={"voice": encoded.values},
            masks={"voice": encoded.valid},
            step_labels=np.full(8, index % 2, dtype=np.int64),
            clip_label=index % 2,
            rate_hz=10.0,
            groups={},
        )
        for index, (clip, encoded) in enumerate(zip(clips, WhisperFrames().encode(clips), strict=True))
    ]


@pytest.mark.parametrize("method", ["lora", "weights"])
def test_before_they_learn_they_give_the_features_of_the_whole_encoder(method: str) -> None:
    clips = [make_aligned_clip(steps=steps, pcm=sound(steps, steps=steps)) for steps in (8, 23)]
    model = build_model(spec_of(train_of(method=method)))
    load_bases(model)
    layers = model.upper_layers["voice"]  # type: ignore[attr-defined]
    for frames, whole in zip(WhisperFrames().encode(clips), WhisperTiny().encode(clips), strict=True):
        with torch.inference_mode():
            given = layers.pooled(torch.from_numpy(frames.values)[None], torch.from_numpy(frames.valid)[None])[0]
        # The whole encoder knows to the sample where the sound ends in the last step.
        np.testing.assert_allclose(given[:-1], whole.values[:-1], atol=2e-4)
        np.testing.assert_allclose(given[-1], whole.values[-1], atol=0.2 * float(np.abs(whole.values[-1]).max()))


@pytest.mark.parametrize("adapt", [{"layers": 1}, {"method": "weights", "layers": 1, "rate": 0.01}])
def test_they_learn_and_an_interrupted_training_ends_alike(
    tmp_path: Path, items: list[Case], adapt: dict[str, Any]
) -> None:
    train = train_of(**adapt)
    job = Job(
        task=TrainingTask(spec=spec_of(train), train=train, seed=5),
        items=lambda split: items,
        inputs_sha256="x",
    )
    runtime = Runtime(workers=0, checkpoint_steps=1)
    trained = fit_here(job, tmp_path / "whole", lambda epoch: None, runtime)
    whole = trained.weights
    # The held-out scores of the last epoch are those of the weights that were kept.
    model = build_model(job.task.spec)
    load_weights(model, whole, where="training")
    batch = collate(items)
    with torch.inference_mode():
        answers = model.eval()(batch.features, batch.masks).clip_logits.argmax(-1)
    right = float((answers == batch.clip_labels).float().mean())
    assert trained.history[-1]["held_out_clip_accuracy"] == pytest.approx(right)

    learner = new_learner(job.task, items)
    start = {name: value.clone() for name, value in learner.model.state_dict().items()}
    assert whole.keys() == start.keys()
    changed = {name for name in start if name.startswith("upper.") and not torch.equal(whole[name], start[name])}
    assert changed == {name for name in start if name.startswith("upper.") and name not in learner.model.fixed}
    of_second = [name for name in changed if name.startswith("upper.voice.layers.1.")]
    assert sorted(of_second) == sorted(changed)
    assert {group["rate"] for group in learner.optimiser.param_groups} == {1.0, train.adapt["voice"].rate}

    def stop(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_here(job, tmp_path / "again", stop, runtime)
    again = fit_here(job, tmp_path / "again", lambda epoch: None, runtime).weights
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


@pytest.mark.parametrize(
    ("adapt", "encoders", "words"),
    [
        (
            {"face": {}},
            ENCODERS,
            r"train\.adapt\.face.*seen 'features\.encoders\.face: fer'; allowed: .*whisper-tiny-frames",
        ),
        ({"voice": {}}, {"voice": {"spec": "whisper-tiny"}}, r"seen 'features\.encoders\.voice: whisper-tiny'; allow"),
        ({"text": {}}, ENCODERS, r"train\.adapt\.text.*seen 'no encoder'"),
        ({"voice": {"layers": 3}}, ENCODERS, r"train\.adapt\.voice\.layers.*seen 3; allowed: 1 to 2"),
    ],
)
def test_an_encoder_that_cannot_learn_is_refused_with_those_that_can(
    adapt: dict[str, Any], encoders: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        check_adapted(Train.model_validate({"adapt": adapt}), encoders)


def test_without_the_setting_nothing_is_there() -> None:
    train = Train()
    assert upper_of(train, ENCODERS, WIDTHS) == {}
    plain = replace(spec_of(train_of()), upper={})
    assert "upper" not in plain.to_json()
    assert build_model(plain).fixed == frozenset()
