from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.contracts.errors import ModelError
from components.model.paper import (
    PaperModel,
    PaperOutput,
    Recipe,
    TemporalNetwork,
    class_weights,
    info_nce,
    load_reference_state_dict,
    paper_loss,
)


class Chomp(nn.Module):
    """Padding on both sides, then the right end cut off: causality the long way."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.size]


class ReferenceBlock(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        pad = 2 * dilation
        self.conv1 = nn.Conv1d(512, 512, 3, padding=pad, dilation=dilation)
        self.conv2 = nn.Conv1d(512, 512, 3, padding=pad, dilation=dilation)
        # The same convolutions registered again: a checkpoint then holds each of them under two names.
        self.net = nn.Sequential(
            self.conv1, Chomp(pad), nn.ReLU(), nn.Dropout(0.4), self.conv2, Chomp(pad), nn.ReLU(), nn.Dropout(0.4)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.net(x) + x)


class Reference(nn.Module):
    """The published model from plain torch modules, with stand-ins for the encoders' weights."""

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.clip = nn.Module()
        self.clip.vision_model = nn.Linear(4, 4)
        self.clip.logit_scale = nn.Parameter(torch.tensor(4.5))
        self.wav2vec = nn.Linear(4, 4)
        self.visual_tcn = nn.Module()
        self.visual_tcn.network = nn.Sequential(*[ReferenceBlock(dilation) for dilation in (1, 2, 4, 8, 16, 32)])
        self.audio_adapter = nn.Sequential(nn.Linear(768, 512), nn.LayerNorm(512), nn.ReLU(), nn.Dropout(0.3))
        self.v2a_attention = nn.MultiheadAttention(512, 8, batch_first=True, dropout=0.2)
        self.v2a_norm = nn.LayerNorm(512)
        self.a2v_attention = nn.MultiheadAttention(512, 8, batch_first=True, dropout=0.2)
        self.a2v_norm = nn.LayerNorm(512)
        head = [nn.Linear(1024, 512), nn.LayerNorm(512), nn.ReLU(), nn.Dropout(0.5)]
        self.classifier = nn.Sequential(*head, nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes))
        self.video_projection = nn.Linear(512, 512)

    def forward(self, face: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        video = self.visual_tcn.network(face.permute(0, 2, 1)).permute(0, 2, 1)
        audio = self.audio_adapter(voice)
        video_out, _ = self.v2a_attention(query=video, key=audio, value=audio)
        audio_out, _ = self.a2v_attention(query=audio, key=video, value=video)
        pooled = torch.mean(self.v2a_norm(video + video_out), dim=1)
        heard = torch.mean(self.a2v_norm(audio + audio_out), dim=1)
        projected = self.video_projection(pooled)
        return self.classifier(torch.cat([pooled, heard], dim=-1)), projected / projected.norm(dim=-1, keepdim=True)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Every weight random: fresh norms (1 and 0) and attention biases (0) would hide one that is not loaded."""
    torch.manual_seed(7)
    model = Reference().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def weights(reference: Reference) -> dict[str, Tensor]:
    return dict(reference.state_dict())


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(3, 90, 512, generator=generator), torch.randn(3, 149, 768, generator=generator)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_published_checkpoint_gives_the_published_logits(
    reference: Reference, weights: dict[str, Tensor], inputs: tuple[Tensor, Tensor], prefix: str
) -> None:
    model = PaperModel().eval()
    ignored = load_reference_state_dict(model, {f"{prefix}{name}": value for name, value in weights.items()})
    with torch.no_grad():
        logits, video = reference(*inputs)
        output = model.outputs(*inputs)
        assert torch.equal(model(*inputs), output.logits)
    assert logits.std() > 1e-2
    torch.testing.assert_close(output.logits, logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.video, video, atol=1e-5, rtol=0)
    assert ignored == ("clip.vision_model.bias", "clip.vision_model.weight", "wav2vec.bias", "wav2vec.weight")
    assert model.logit_scale.item() == 4.5


def test_every_published_value_stands() -> None:
    model = PaperModel()
    dropouts = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    assert dropouts == {
        **{f"visual_tcn.network.{index}.dropout": 0.4 for index in range(6)},
        "audio_adapter.3": 0.3,
        "classifier.3": 0.5,
        "classifier.6": 0.5,
    }
    for attention in (model.v2a_attention, model.a2v_attention):
        assert (attention.num_heads, attention.dropout, attention.embed_dim) == (8, 0.2, 512)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv1d)]
    assert [conv.dilation[0] for conv in convolutions] == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32, 32]
    assert model.logit_scale.exp().item() == pytest.approx(100)
    assert model(torch.randn(2, 5, 512), torch.randn(2, 9, 768)).shape == (2, 8)


def test_training_mode_drops_out_and_reaches_every_parameter(inputs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    model = PaperModel()
    text = functional.normalize(torch.randn(3, 512), dim=-1)
    assert not torch.equal(model(*inputs), model(*inputs))
    output = model.outputs(*inputs)
    loss = paper_loss(
        output,
        torch.tensor([0, 3, 3]),
        text,
        weight_K=class_weights([1] * 8),
        logit_scale=model.logit_scale,
        contrastive=Recipe().contrastive_weight,
    )
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_the_temporal_network_is_causal_and_sees_252_frames_back() -> None:
    torch.manual_seed(0)
    network = TemporalNetwork().double().eval()
    x = torch.randn(1, 300, 512, dtype=torch.float64)
    changed = x.clone()
    changed[:, 20] += 10.0
    with torch.no_grad():
        differs = (network(x) != network(changed)).any(-1).squeeze(0)
    assert not differs[:20].any()
    assert differs[20]
    assert differs[272]
    assert not differs[273:].any()


def test_padding_counts_because_nothing_is_masked(weights: dict[str, Tensor], inputs: tuple[Tensor, Tensor]) -> None:
    model = PaperModel().eval()
    load_reference_state_dict(model, weights)
    face, voice = inputs
    with torch.no_grad():
        padded = model(functional.pad(face, (0, 0, 0, 30)), voice)
        longer = model(face, functional.pad(voice, (0, 0, 0, 50)))
        plain = model(face, voice)
    assert (padded - plain).abs().max() > 1e-3
    assert (longer - plain).abs().max() > 1e-3


def test_the_whole_saved_dictionary_is_taken(weights: dict[str, Tensor]) -> None:
    model = PaperModel()
    load_reference_state_dict(model, {"epoch": 3, "best_val_f1": 32.0, "model_state_dict": weights})
    assert torch.equal(model.classifier[7].weight, weights["classifier.7.weight"])


def test_either_name_of_a_convolution_will_do(weights: dict[str, Tensor]) -> None:
    for gone in (".net.", ".conv"):
        model = PaperModel()
        load_reference_state_dict(model, {name: value for name, value in weights.items() if gone not in name})
        for position, name in (("net.0", "conv1"), ("net.4", "conv2")):
            loaded = model.get_parameter(f"visual_tcn.network.5.{name}.weight")
            assert torch.equal(loaded, weights[f"visual_tcn.network.5.{position}.weight"])


def test_two_names_that_disagree_are_refused(weights: dict[str, Tensor]) -> None:
    weights["visual_tcn.network.2.net.4.bias"] = weights["visual_tcn.network.2.net.4.bias"] + 1
    with pytest.raises(ModelError, match=r"network\.2\.net\.4\.bias.*different values.*network\.2\.conv2\.bias"):
        load_reference_state_dict(PaperModel(), weights)


def test_its_own_state_dict_loads_and_a_scale_that_is_not_there_is_kept(weights: dict[str, Tensor]) -> None:
    model, again = PaperModel(), PaperModel()
    del weights["clip.logit_scale"]
    load_reference_state_dict(model, weights)
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    assert load_reference_state_dict(again, model.state_dict()) == ()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_all_that_does_not_fit_is_named_and_nothing_is_loaded(weights: dict[str, Tensor]) -> None:
    del weights["a2v_norm.weight"], weights["v2a_attention.in_proj_weight"]
    weights["audio_adapter.0.weight"] = torch.zeros(512, 1024)
    weights["text_adapter.weight"] = torch.zeros(3)
    model = PaperModel()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_reference_state_dict(model, weights)
    text = str(caught.value)
    assert "missing a2v_norm.weight, v2a_attention.in_proj_weight;" in text
    assert "unexpected text_adapter.weight;" in text
    assert "audio_adapter.0.weight is (512, 1024)" in str(caught.value.seen)
    assert "audio_adapter.0.weight is (512, 768)" in str(caught.value.allowed)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_number_of_classes_is_named(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match=r"classifier\.7\.weight is \(8, 256\).*has 8 classes, the model 7"):
        load_reference_state_dict(PaperModel(classes=7), weights)


def test_a_value_that_is_no_tensor_is_named(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match=r"v2a_norm\.bias.*no tensor.*'list'"):
        load_reference_state_dict(PaperModel(), {**weights, "v2a_norm.bias": [0.0] * 512})


@pytest.mark.parametrize(
    ("face", "voice", "words"),
    [
        ((2, 5, 511), (2, 9, 768), r"modality face.*\(2, 5, 511\).*512"),
        ((2, 5, 512), (2, 9, 512), r"modality voice.*\(2, 9, 512\).*768"),
        ((2, 512), (2, 9, 768), r"modality face.*\(2, 512\)"),
        ((2, 5, 512), (2, 0, 768), r"modality voice.*\(2, 0, 768\).*≥ 1"),
        ((2, 5, 512), (3, 9, 768), "2 and 3"),
    ],
)
def test_inputs_that_do_not_fit_are_named(face: tuple[int, ...], voice: tuple[int, ...], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        PaperModel()(torch.zeros(face), torch.zeros(voice))


def test_info_nce_is_what_a_hand_computes() -> None:
    video = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Twice the cosines: rows (2, 0), (1.2, 1.6); columns (2, 1.2), (0, 1.6). log(1 + e^-margin) for each margin.
    by_row = [math.log1p(math.exp(-2.0)), math.log1p(math.exp(-0.4))]
    by_column = [math.log1p(math.exp(-0.8)), math.log1p(math.exp(-1.6))]
    expected = (sum(by_row) / 2 + sum(by_column) / 2) / 2
    assert info_nce(video, text, torch.tensor(math.log(2.0))).item() == pytest.approx(expected, abs=1e-6)


def test_info_nce_takes_windows_of_one_class_as_negatives() -> None:
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert info_nce(same, same, torch.tensor(math.log(100.0))).item() == pytest.approx(math.log(2))
    with pytest.raises(ModelError, match=r"\(2, 2\) and \(1, 2\)"):
        info_nce(same, same[:1], torch.tensor(0.0))


def test_class_weights_are_inverse_frequency() -> None:
    assert class_weights([60, 30, 10]).tolist() == pytest.approx([100 / 180, 100 / 90, 100 / 30], rel=1e-5)
    absent = class_weights([5, 0])
    assert torch.isfinite(absent).all()
    assert absent[0].item() == pytest.approx(0.5, rel=1e-5)


def test_the_loss_is_weighted_cross_entropy_and_a_tenth_of_info_nce() -> None:
    video = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    output = PaperOutput(logits=torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]]), video=video)
    loss = paper_loss(
        output,
        torch.tensor([0, 1]),
        video,
        weight_K=torch.tensor([1.0, 3.0]),
        logit_scale=torch.tensor(0.0),
        contrastive=Recipe().contrastive_weight,
    )
    classified = (1 * math.log(2.0) + 3 * math.log(4.0)) / 4
    assert loss.item() == pytest.approx(classified + 0.1 * math.log1p(math.exp(-1.0)), abs=1e-6)


def test_the_rate_is_torchs_cosine() -> None:
    recipe = Recipe()
    optimizer = torch.optim.AdamW(
        [nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30, eta_min=1e-6)
    for epoch in range(recipe.epochs):
        assert recipe.learning_rate_at(epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        schedule.step()
    assert (recipe.learning_rate_at(0), recipe.learning_rate_at(30)) == pytest.approx((1e-5, 1e-6))
    assert (recipe.weight_decay, recipe.gradient_clip, recipe.batch_size, recipe.accumulation) == (1e-2, 1.0, 32, 2)
