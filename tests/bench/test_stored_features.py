from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.made import aligned_clip
from bench.published_encoders import VISION, VOICE, published_encoders
from bench.report import Comparison
from bench.stored_features import (
    EPOCHS,
    GOAL,
    RATE_HZ,
    STRIDE,
    WINDOW,
    Reencoded,
    Sizes,
    TrainingSetup,
    embedded_encoders,
    encode_once,
    run,
    task_of,
    windows_of,
)
from components.contracts.config import Train
from components.contracts.presets import PRESETS
from components.features.base import Encoder
from components.features.registry import create
from components.features.store import FeatureStore
from components.training.samples.items import cut


def cheap(folder: Path) -> dict[str, Encoder]:
    return {"face": create("hog", "face"), "voice": create("signal", "voice")}


@pytest.mark.parametrize("encoders", [cheap, embedded_encoders])
def test_the_training_and_its_encoding(encoders: object, tmp_path: Path) -> None:
    corpus = TrainingSetup(
        name="tiny",
        preset="default",
        encoders=encoders,
        clips=1,
        steps=WINDOW + STRIDE,
        measured=1,  # type: ignore[arg-type]
    )
    training, encoding = run(Sizes(corpora=(corpus,)), tmp_path)
    assert isinstance(training, Comparison)
    assert isinstance(encoding, Comparison)
    assert (training.kind, training.goal, training.pairs) == ("gain", GOAL, 1)
    assert "extrapolated" in training.what
    assert "extrapolated from 1 measured epoch" in training.note
    assert "2 windows of 90 steps every 15" in training.what
    assert encoding.baseline.name == f"{EPOCHS * 2 * WINDOW / (WINDOW + STRIDE):.0f} passes a frame"
    # Encoding is a part of the training, on both sides.
    assert 0 < encoding.baseline.amount < training.baseline.amount
    assert 0 < encoding.ours.amount < training.ours.amount


def test_the_paper_s_training_is_made_from_its_preset() -> None:
    task = task_of("paper", {"face": create("fer", "face"), "voice": create("whisper-tiny", "voice")})
    assert task.spec.model.preset == "paper"
    assert task.train.learning_rate == Train.model_validate(PRESETS["paper"]["train"]).learning_rate
    assert (task.train.epochs, task.train.contrastive_loss) == (EPOCHS, 0.0)


def test_windows_come_every_stride_and_lie_within_their_clip() -> None:
    clips = [aligned_clip(index, steps=steps, rate_hz=RATE_HZ) for index, steps in enumerate((WINDOW, 120, 80))]
    assert windows_of(clips) == [(0, 0), (1, 0), (1, 15), (1, 30)]


def test_a_window_encoded_anew_is_the_window_of_what_is_stored(tmp_path: Path) -> None:
    clips = [aligned_clip(index, steps=120, rate_hz=RATE_HZ) for index in range(2)]
    encoders: dict[str, Encoder] = {"face": create("fer", "face")}
    stored = encode_once(clips, encoders, FeatureStore(tmp_path))
    windows = windows_of(clips)
    anew = Reencoded(clips, windows, encoders=encoders, transform=stored.transform)
    assert len(anew) == len(windows) == 6
    for place, (index, first) in enumerate(windows):
        one, other = anew[place], cut(stored.cases[index], first, WINDOW)
        assert one.clip_label == other.clip_label
        assert np.array_equal(one.masks["face"], other.masks["face"])
        # Pictures do not see each other, so only the batch they are in may move the last bits.
        np.testing.assert_allclose(one.features["face"], other.features["face"], atol=1e-4)
    assert anew.encode_s > 0


def test_the_published_encoders_have_their_published_sizes(tmp_path: Path) -> None:
    assert (VISION["num_hidden_layers"], VISION["patch_size"], VISION["projection_dim"]) == (12, 32, 512)
    assert (VOICE["num_hidden_layers"], VOICE["hidden_size"]) == (12, 768)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    encoders = published_encoders(tmp_path, vision={**VISION, **small}, voice={**VOICE, **small})
    clip = aligned_clip(0, steps=30, rate_hz=RATE_HZ)
    for name, width in (("face", 512), ("voice", 32)):
        (encoded,) = encoders[name].encode([clip])
        assert encoded.values.shape == (30, width)
        assert encoded.valid.all()
        assert np.isfinite(encoded.values).all()
