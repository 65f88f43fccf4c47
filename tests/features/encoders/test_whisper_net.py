from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as ReferenceEncoder

from components.features.encoders.ct2_reader import read_ct2
from components.features.encoders.log_mel import whisper_log_mel
from components.features.encoders.whisper_net import WhisperEncoder, encoder_from_ct2
from components.runtime.weights import weight_file


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    return read_ct2(weight_file("whisper-tiny"), lambda name: name.startswith("encoder/")).variables


def reference(variables: dict[str, np.ndarray]) -> ReferenceEncoder:
    """transformers' own encoder with the same weights; its projections are apart and its key has no bias."""
    net = ReferenceEncoder(
        WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80)
    ).eval()
    state = {}

    def put(name: str, values: np.ndarray) -> None:
        state[name] = torch.from_numpy(values.astype(np.float32))

    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            put(f"{conv}.{part}", variables[f"encoder/{conv}/{part}"])
    put("embed_positions.weight", variables["encoder/position_encodings/encodings"])
    put("layer_norm.weight", variables["encoder/layer_norm/gamma"])
    put("layer_norm.bias", variables["encoder/layer_norm/beta"])
    for index in range(4):
        ours, theirs = f"encoder/layer_{index}", f"layers.{index}"
        for part, name in (("gamma", "weight"), ("beta", "bias")):
            put(f"{theirs}.self_attn_layer_norm.{name}", variables[f"{ours}/self_attention/layer_norm/{part}"])
            put(f"{theirs}.final_layer_norm.{name}", variables[f"{ours}/ffn/layer_norm/{part}"])
        for part in ("weight", "bias"):
            query, key, value = np.split(variables[f"{ours}/self_attention/linear_0/{part}"], 3)
            put(f"{theirs}.self_attn.q_proj.{part}", query)
            put(f"{theirs}.self_attn.v_proj.{part}", value)
            if part == "weight":
                put(f"{theirs}.self_attn.k_proj.{part}", key)
            else:
                assert not key.any()
            put(f"{theirs}.self_attn.out_proj.{part}", variables[f"{ours}/self_attention/linear_1/{part}"])
            put(f"{theirs}.fc1.{part}", variables[f"{ours}/ffn/linear_0/{part}"])
            put(f"{theirs}.fc2.{part}", variables[f"{ours}/ffn/linear_1/{part}"])
    net.load_state_dict(state)
    return net


def test_equals_the_reference_on_thirty_seconds(variables: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(3)
    time_s = np.arange(30 * 16000) / 16000
    wave = 0.1 * np.sin(2 * np.pi * (150 + 40 * np.sin(time_s)) * time_s) + 0.02 * rng.standard_normal(time_s.size)
    mel = torch.from_numpy(whisper_log_mel(wave))[None]
    with torch.inference_mode():
        theirs = reference(variables)(mel, output_hidden_states=True)
        ours = encoder_from_ct2(variables).hidden_states(mel)
    assert len(ours) == len(theirs.hidden_states) == 5
    for own, other in zip(ours, theirs.hidden_states, strict=True):
        cosine = torch.nn.functional.cosine_similarity(own, other, dim=-1)
        assert float(cosine.min()) > 0.99999
    torch.testing.assert_close(ours[-1], theirs.last_hidden_state, atol=1e-3, rtol=1e-3)


def test_fewer_layers_give_the_same_states() -> None:
    torch.manual_seed(0)
    net = WhisperEncoder(mels=8, width=16, heads=2, layers=3, max_frames=50).eval()
    mel = torch.randn(1, 8, 31)
    with torch.inference_mode():
        whole, part = net.hidden_states(mel), net.hidden_states(mel, layers=2)
    assert len(part) == 3
    assert whole[0].shape == (1, 16, 16)
    for own, other in zip(part, whole, strict=False):
        torch.testing.assert_close(own, other)
    torch.testing.assert_close(net(mel), whole[-1])
