from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    HubertConfig,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from components.contracts.errors import ConfigError
from components.contracts.timebase import pool_mean
from components.features.encoders.audio import level_normalised
from components.features.encoders.transformers_voice import CHUNK_SAMPLES, frame_geometry
from components.features.registry import create
from tests.builders import make_aligned_clip

TINY = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
MODELS: dict[str, tuple[type, type]] = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
}


@pytest.fixture(scope="module", params=sorted(MODELS))
def checkpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PreTrainedModel]:
    torch.manual_seed(0)
    config, model = MODELS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    net = model(config(**TINY)).eval()
    net.save_pretrained(folder)
    return folder, net


def test_frames_are_the_last_hidden_state_of_the_normalised_wave(checkpoint: tuple[Path, PreTrainedModel]) -> None:
    folder, net = checkpoint
    clip = make_aligned_clip(steps=20)
    encoder = create(f"transformers:{folder}", "voice", "cpu")
    (encoded,) = encoder.encode([clip])
    assert encoded.values.shape == (20, encoder.width) == (20, 24)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    values = extractor(level_normalised(clip), sampling_rate=16000, return_tensors="pt").input_values
    with torch.inference_mode():
        frames = net(values).last_hidden_state[0].numpy()
    assert len(frames) == 99
    # Frame k sees samples [320 k, 320 k + 400), so its centre is at 12.5 ms + k · 20 ms.
    centres_s = 0.0125 + 0.02 * np.arange(99)
    starts_s, ends_s = centres_s - 0.01, centres_s + 0.01
    starts_s[0], ends_s[-1] = 0.0, 2.0
    expected, _ = pool_mean(frames, starts_s, ends_s, clip.grid)
    np.testing.assert_allclose(encoded.values, expected, atol=1e-4)


def test_the_level_of_a_recording_does_not_matter(checkpoint: tuple[Path, PreTrainedModel]) -> None:
    encoder = create(f"transformers:{checkpoint[0]}", "voice", "cpu")
    clip = make_aligned_clip()
    quiet = make_aligned_clip(pcm=(clip.pcm * 0.2).astype(np.int16))
    loud, soft = encoder.encode([clip, quiet])
    np.testing.assert_allclose(loud.values, soft.values, atol=0.02)


def test_a_clip_does_not_depend_on_its_neighbours(checkpoint: tuple[Path, PreTrainedModel]) -> None:
    encoder = create(f"transformers:{checkpoint[0]}", "voice", "cpu")
    clips = [make_aligned_clip("a", steps=8), make_aligned_clip("b", steps=20)]
    for clip, encoded in zip(clips, encoder.encode(clips), strict=True):
        np.testing.assert_array_equal(encoder.encode([clip])[0].values, encoded.values)


def test_long_and_tiny_clips_have_every_step(checkpoint: tuple[Path, PreTrainedModel]) -> None:
    encoder = create(f"transformers:{checkpoint[0]}", "voice", "cpu")
    long = make_aligned_clip(steps=305)
    assert long.pcm.size > CHUNK_SAMPLES
    tiny = make_aligned_clip(steps=1, pcm=np.full(100, 500, np.int16))
    for clip, encoded in zip([long, tiny], encoder.encode([long, tiny]), strict=True):
        assert encoded.valid.all()
        assert encoded.values.shape == (clip.grid.num_steps, 24)
    (absent,) = encoder.encode([make_aligned_clip(masks={})])
    assert not absent.valid.any()


def test_a_checkpoint_trained_without_normalisation_has_the_plain_wave(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = WavLMModel(WavLMConfig(**TINY, feat_extract_norm="layer")).eval()
    net.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "sampling_rate": 16000}))
    clip = make_aligned_clip(steps=20)
    (encoded,) = create(f"transformers:{tmp_path}", "voice", "cpu").encode([clip])
    with torch.inference_mode():
        frames = net(torch.from_numpy(level_normalised(clip))[None]).last_hidden_state[0].numpy()
    # Step 10 covers the frames centred between 1.0 and 1.1 s.
    centres_s = 0.0125 + 0.02 * np.arange(99)
    expected, _ = pool_mean(frames, centres_s - 0.01, centres_s + 0.01, clip.grid)
    np.testing.assert_allclose(encoded.values[10], expected[10], atol=1e-4)


def test_another_rate_or_model_is_refused(tmp_path: Path) -> None:
    Wav2Vec2Model(Wav2Vec2Config(**TINY)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(ConfigError, match="a different sampling rate"):
        create(f"transformers:{tmp_path}", "voice", "cpu")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(ConfigError, match="not a supported voice encoder"):
        create(f"transformers:{tmp_path}", "voice", "cpu")


def test_geometry_of_the_usual_seven_convolutions() -> None:
    assert frame_geometry((5, 2, 2, 2, 2, 2, 2), (10, 3, 3, 3, 3, 2, 2)) == (320, 400)
