from __future__ import annotations

from itertools import permutations

import pytest
import torch

from components.model import attention
from components.model.attention import CrossAttention, RelativeTime

NAMES = ("face", "text", "voice")


def layer(*, causal: bool = False, window: int = 1000, pairs: list[tuple[str, str]] | None = None) -> CrossAttention:
    torch.manual_seed(1)
    return CrossAttention(
        NAMES,
        8,
        heads=2,
        pairs=pairs or list(permutations(NAMES, 2)),
        window_steps=window,
        rate_hz=10.0,
        causal=causal,
        dropout=0.0,
    ).eval()


def inputs(steps: int = 12, clips: int = 2) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    streams = {name: torch.randn(clips, steps, 8, generator=generator) for name in NAMES}
    masks = {name: torch.rand(clips, steps, generator=generator) > 0.3 for name in NAMES}
    return {name: torch.where(masks[name][..., None], streams[name], 0.0) for name in NAMES}, masks


def reference(net: CrossAttention, streams: dict[str, torch.Tensor], masks: dict[str, torch.Tensor], query: str):
    """Definition of the layer, one query step at a time, without any batching or masking tricks."""
    clips, steps, width = streams[query].shape
    slopes = torch.nn.functional.softplus(net.relative_time.raw_H)
    result = streams[query].clone()
    for clip in range(clips):
        for step in range(steps):
            if not masks[query][clip, step]:
                continue
            told, sides = torch.zeros(width), 0
            for _, key in [pair for pair in net.pairs if pair[0] == query]:
                near = [
                    other
                    for other in range(steps)
                    if masks[key][clip, other]
                    and abs(other - step) <= net.window_steps
                    and not (net.causal and other > step)
                ]
                if not near:
                    continue
                sides += 1
                q = net.query[query](net.norm[query](streams[query][clip, step])).view(net.heads, -1)
                kv = net.key_value[key](net.norm[key](streams[key][clip, near]))
                k, v = (half.view(len(near), net.heads, -1) for half in kv.chunk(2, dim=-1))
                heads = []
                for head in range(net.heads):
                    distance_s = torch.tensor([abs(other - step) / net.rate_hz for other in near])
                    scores = k[:, head] @ q[head] / q.shape[-1] ** 0.5 - slopes[head] * distance_s
                    weights = torch.cat([torch.zeros(1), scores]).softmax(0)[1:]
                    heads.append(weights @ v[:, head])
                told = told + torch.cat(heads)
            if sides:
                result[clip, step] = streams[query][clip, step] + net.out[query](told / sides)
    return result


@pytest.mark.parametrize(("causal", "window"), [(False, 1000), (True, 1000), (False, 3), (True, 3)])
def test_it_computes_its_definition(causal: bool, window: int) -> None:
    net = layer(causal=causal, window=window)
    streams, masks = inputs()
    result = net(streams, masks)
    for name in NAMES:
        assert torch.allclose(result[name], reference(net, streams, masks, name), atol=1e-5)


def test_blocks_of_queries_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    net = layer(window=4)
    streams, masks = inputs(steps=37)
    whole = net(streams, masks)
    monkeypatch.setattr(attention, "QUERY_BLOCK_STEPS", 5)
    for name, values in net(streams, masks).items():
        assert torch.allclose(values, whole[name], atol=1e-6)


def test_a_query_with_nothing_to_ask_passes_through_with_finite_gradients() -> None:
    net = layer()
    streams, masks = inputs(clips=3)
    masks["text"][0] = False
    masks["voice"][0] = False
    streams = {name: torch.where(masks[name][..., None], values, 0.0) for name, values in streams.items()}
    for values in streams.values():
        values.requires_grad_(True)
    result = net(streams, masks)
    assert torch.equal(result["face"][0], streams["face"][0])
    assert torch.equal(result["voice"][0], torch.zeros_like(result["voice"][0]))
    sum(values.square().sum() for values in result.values()).backward()
    gradients = [values.grad for values in streams.values()] + [parameter.grad for parameter in net.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_one_empty_side_leaves_the_other_pairs_alone() -> None:
    streams, masks = inputs()
    masks["text"][:] = False
    streams["text"] = torch.zeros_like(streams["text"])
    net = layer()
    expected = {name: reference(net, streams, masks, name) for name in NAMES}
    for name, values in net(streams, masks).items():
        assert torch.allclose(values, expected[name], atol=1e-5)


def test_only_named_pairs_exchange() -> None:
    net = layer(pairs=[("face", "voice")])
    streams, masks = inputs()
    result = net(streams, masks)
    assert torch.equal(result["voice"], streams["voice"])
    assert torch.equal(result["text"], streams["text"])
    assert not torch.equal(result["face"], streams["face"])


def test_far_keys_weigh_less_by_seconds_not_steps() -> None:
    bias = RelativeTime(2)(torch.tensor([[0.0, 0.5, -1.0]]))
    assert bias.shape == (2, 1, 3)
    assert torch.equal(bias[:, 0, 0], torch.zeros(2))
    assert torch.allclose(bias[:, 0, 2], 2 * bias[:, 0, 1])
    assert (bias[:, 0, 2] < 0).all()
