from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.contracts.errors import ModelError
from components.model.published.paper import PaperModel, TemporalNetwork, info_nce, load_reference_state_dict
from tests.model.published.reference import Reference, random_reference


@pytest.fixture(scope="module")
def reference() -> Reference:
    return random_reference()


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
    loss = functional.cross_entropy(output.logits, torch.tensor([0, 3, 3]))
    loss = loss + 0.1 * info_nce(output.video, text, model.logit_scale)
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


def test_another_width_of_features_changes_the_first_maps_alone(weights: dict[str, Tensor]) -> None:
    published = {name: value.shape for name, value in PaperModel().state_dict().items()}
    assert published.keys() == {
        name for name in weights if not name.startswith(("clip.", "wav2vec.")) and ".net." not in name
    }
    other = {name: value.shape for name, value in PaperModel(face_width=20, voice_width=30).state_dict().items()}
    assert {name for name in other if other[name] != published.get(name)} == {
        "visual_tcn.network.0.conv1.weight",
        "visual_tcn.network.0.downsample.weight",
        "visual_tcn.network.0.downsample.bias",
        "audio_adapter.0.weight",
    }
    assert PaperModel(face_width=20, voice_width=30)(torch.randn(2, 5, 20), torch.randn(2, 9, 30)).shape == (2, 8)
    assert PaperModel(embedding=384).outputs(torch.randn(2, 5, 512), torch.randn(2, 9, 768)).video.shape == (2, 384)


def test_the_block_of_another_width_is_the_published_one_with_its_downsampling() -> None:
    torch.manual_seed(0)
    block = TemporalNetwork(20).eval().network[0]
    x = torch.randn(2, 20, 7)
    padded = functional.pad(x, (2, 0))
    first = functional.pad(functional.conv1d(padded, block.conv1.weight, block.conv1.bias).relu(), (2, 0))
    told = functional.conv1d(first, block.conv2.weight, block.conv2.bias).relu()
    across = torch.einsum("wd,bdt->bwt", block.downsample.weight[:, :, 0], x) + block.downsample.bias[:, None]
    with torch.no_grad():
        torch.testing.assert_close(block(x), (told + across).relu())


def test_masks_hide_what_lies_behind_a_window(weights: dict[str, Tensor], inputs: tuple[Tensor, Tensor]) -> None:
    model = PaperModel().eval()
    load_reference_state_dict(model, weights)
    face, voice = inputs
    longer = functional.pad(face, (0, 0, 0, 4), value=9.0), functional.pad(voice, (0, 0, 0, 11), value=-9.0)
    masks = [torch.arange(x.shape[1]).expand(3, -1) < own.shape[1] for x, own in zip(longer, inputs, strict=True)]
    with torch.no_grad():
        masked = model.outputs(*longer, face_mask=masks[0], voice_mask=masks[1])
        plain = model.outputs(face, voice)
    torch.testing.assert_close(masked.logits, plain.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(masked.video, plain.video, atol=1e-5, rtol=0)


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
    with pytest.raises(ModelError, match=r"v2a_norm\.bias.*not a tensor.*'list'"):
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
