from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model

from components.contracts.errors import ConfigError
from components.features.encoders.transformers_face import PictureSettings, picture_settings, prepared
from components.features.registry import create
from tests.builders import make_aligned_clip

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 37,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 30,
    "patch_size": 6,
}


def smooth(seed: int, side: int = 96) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (side, side)))


def png(picture: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", picture[:, :, ::-1])[1])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 99,
    }
    config = CLIPConfig(text_config=text, vision_config=TOWER, projection_dim=24)
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("dino")
    Dinov2Model(Dinov2Config(**TOWER)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"crop_size": {"height": 30, "width": 30}, "do_center_crop": true, "size": {"shortest_edge": 36}, '
        '"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}'
    )
    return folder


def test_clip_gives_the_projection_not_normalised(clip_folder: Path) -> None:
    pictures = [smooth(step) for step in range(4)]
    clip = make_aligned_clip(
        steps=5, face_jpeg=(*map(png, pictures), None), masks={"face": np.array([1, 1, 0, 1, 1], bool)}
    )
    encoder = create(f"transformers:{clip_folder}", "face", "cpu")
    (encoded,) = encoder.encode([clip])
    assert encoder.width == 24
    assert encoded.values.shape == (5, 24)
    assert encoded.valid.tolist() == [True, True, False, True, False]
    model = CLIPModel.from_pretrained(clip_folder).eval()
    settings = picture_settings({}, TOWER, is_clip=True)
    with torch.inference_mode():
        pixels = torch.cat([prepared(pictures[step], settings) for step in (0, 1, 3)])
        expected = model.visual_projection(model.vision_model(pixels).pooler_output).numpy()
    np.testing.assert_allclose(encoded.values[[0, 1, 3]], expected, atol=1e-5)
    assert not np.allclose(np.linalg.norm(expected, axis=1), 1, atol=0.05)


def test_dino_gives_the_class_token(dino_folder: Path) -> None:
    picture = smooth(1)
    encoder = create(f"transformers:{dino_folder}", "face", "cpu")
    (encoded,) = encoder.encode([make_aligned_clip(steps=1, face_jpeg=(png(picture),))])
    model = Dinov2Model.from_pretrained(dino_folder).eval()
    resized = np.asarray(Image.fromarray(picture).resize((36, 36), Image.Resampling.BICUBIC))[3:33, 3:33] / 255.0
    pixels = torch.from_numpy((resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = model(pixels).pooler_output.numpy()
    assert np.corrcoef(encoded.values[0], expected[0])[0, 1] > 0.999


@pytest.mark.parametrize(
    ("mode", "filter_"), [("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)]
)
@pytest.mark.parametrize("side", [224, 50])
def test_resizing_equals_pillow(mode: str, filter_: Image.Resampling, side: int) -> None:
    picture = smooth(2)
    settings = PictureSettings(resize_px=side, crop_px=side, mode=mode, mean=(0.0,) * 3, std=(1.0,) * 3)
    own = prepared(picture, settings)[0].permute(1, 2, 0).numpy() * 255
    reference = np.asarray(Image.fromarray(picture).resize((side, side), filter_))
    assert np.abs(own - reference).max() <= 1.01


def test_a_clip_does_not_depend_on_its_neighbours(clip_folder: Path) -> None:
    encoder = create(f"transformers:{clip_folder}", "face", "cpu")
    clips = [make_aligned_clip("a", steps=3, seed=1), make_aligned_clip("b", steps=6, seed=2)]
    for clip, encoded in zip(clips, encoder.encode(clips), strict=True):
        np.testing.assert_array_equal(encoder.encode([clip])[0].values, encoded.values)
    (nothing,) = encoder.encode([make_aligned_clip(steps=2, masks={})])
    assert not nothing.valid.any()


def test_a_text_model_is_no_face_encoder(tmp_path: Path) -> None:
    BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20)).save_pretrained(
        tmp_path
    )
    with pytest.raises(ConfigError, match="not a supported face encoder; seen 'bert'"):
        create(f"transformers:{tmp_path}", "face", "cpu")
