"""`transformers:<name or folder>` (face): a vision checkpoint, one vector a picture.

CLIP gives `visual_projection(pooler_output)`, not L2-normalised (512 for ViT-B/32; arXiv 2603.11971 §3); DINOv2, ViT
and others the final-norm CLS token. Pictures are resized by torch with the checkpoint's own size, crop, mean
and deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.pretrained import Pretrained
from components.contracts.records import AlignedClip
from components.features.base import Encoded, masked
from components.features.classification import ClassificationHead
from components.features.encoders.faces import rgb_crops, valid_steps
from components.runtime.checkpoint import Checkpoint, load_model, settings

VERSION = 1
BATCH_PICTURES = 64
CLIP_TYPES = ("clip", "clip_vision_model")
CLS_TYPES = ("dinov2", "dinov2_with_registers", "vit", "beit", "deit")
# Pillow's filter numbers, which preprocessor_config.json uses.
FILTERS = {2: "bilinear", 3: "bicubic"}
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PicturesToRows = Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """How a checkpoint expects its pictures: resized to `resize_px`, the middle `crop_px` of it, normalised."""

    resize_px: int
    crop_px: int
    mode: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class TransformersFace:
    """A vision checkpoint; half precision and batches across clips on a GPU, each clip alone in float32 on a CPU."""

    modality = "face"

    def __init__(self, name: str, location: str, device: str) -> None:
        self.name = name
        self._checkpoint = Checkpoint(name, location, device)
        self._head = ClassificationHead(self._checkpoint, "ForImageClassification", "AutoModelForImageClassification")
        kind = self._checkpoint.require_type((*CLIP_TYPES, *CLS_TYPES), modality=self.modality)
        self._is_clip = kind in CLIP_TYPES
        config = self._checkpoint.config
        vision = config.get("vision_config") or config
        self.width = int(config.get("projection_dim", 512) if self._is_clip else config["hidden_size"])
        self._pictures = picture_settings(
            settings(self._checkpoint.folder, "preprocessor_config.json"), vision, is_clip=self._is_clip
        )

    @property
    def fingerprint(self) -> str:
        """Hash of this code's version, the checkpoint's content and the precision."""
        return self._checkpoint.content_fingerprint(["face", VERSION])

    @property
    def pretrained(self) -> Pretrained | None:
        """The emotions of its classification head, if it has one."""
        return self._head.pretrained

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, D) per clip; valid where there is a face. Raises MediaError on a crop that is not a picture."""
        return self._outputs(clips, self._vectors, self.width)

    def classify(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, labels) scores per clip, as `encode`."""
        return self._outputs(clips, self._scores, self._head.width)

    def _outputs(self, clips: Sequence[AlignedClip], of: PicturesToRows, width: int) -> list[Encoded]:
        """(T, width) per clip; `of` gives the (n, width) of n pictures."""
        steps = [valid_steps(clip) for clip in clips]
        together = self._checkpoint.device == "cuda"
        groups = [list(range(len(clips)))] if together else [[index] for index in range(len(clips))]
        vectors: list[NDArray[np.float32]] = []
        for group in groups:
            pictures = [picture for index in group for picture in rgb_crops(clips[index], steps[index])]
            group_vectors = of(pictures) if pictures else np.zeros((0, width), dtype=np.float32)
            vectors += np.split(group_vectors, np.cumsum([steps[index].size for index in group])[:-1])
        encoded = []
        for clip, valid, rows in zip(clips, steps, vectors, strict=True):
            values = np.zeros((clip.grid.num_steps, width), dtype=np.float32)
            mask = np.zeros(clip.grid.num_steps, dtype=bool)
            values[valid], mask[valid] = rows, True
            encoded.append(masked(values, mask))
        return encoded

    def _vectors(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, D) of RGB pictures, at least one."""

        def vectors(out: Any) -> Any:
            return out.image_embeds if self._is_clip else out.last_hidden_state[:, 0]

        return self._forward(self._model(), pictures, vectors)

    def _scores(self, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(n, labels) of RGB pictures, at least one."""
        return self._forward(self._head.model(), pictures, lambda out: out.logits)

    def _forward(
        self, model: Any, pictures: list[NDArray[np.uint8]], output: Callable[[Any], Any]
    ) -> NDArray[np.float32]:
        import torch

        rows = []
        with torch.inference_mode():
            for start in range(0, len(pictures), BATCH_PICTURES):
                batch = torch.cat(
                    [prepared(picture, self._pictures) for picture in pictures[start : start + BATCH_PICTURES]]
                )
                out = model(pixel_values=batch.to(self._checkpoint.device, model.dtype))
                rows.append(output(out).float().cpu().numpy())
        return np.concatenate(rows)

    def _model(self) -> Any:
        if self._checkpoint.model is None:
            auto_class = "CLIPVisionModelWithProjection" if self._is_clip else "AutoModel"
            # A whole CLIP names the projection's width beside its two towers, not in the vision tower's part.
            options = {"projection_dim": self.width} if self._is_clip else {}
            self._checkpoint.model = load_model(auto_class, self._checkpoint.folder, self._checkpoint.device, **options)
        return self._checkpoint.model


def picture_settings(given: dict[str, Any], vision: dict[str, Any], *, is_clip: bool) -> PictureSettings:
    """From `preprocessor_config.json`, or, where a checkpoint has none, the values its family was trained with."""
    side = int(vision.get("image_size", 224))
    crop = _side(given["crop_size"], side) if given.get("do_center_crop") and "crop_size" in given else None
    resize = _side(given["size"], side) if "size" in given else side
    return PictureSettings(
        resize_px=resize,
        crop_px=crop or resize,
        mode=FILTERS.get(int(given.get("resample", 3)), "bicubic"),
        mean=tuple(given.get("image_mean", CLIP_MEAN if is_clip else IMAGENET_MEAN)),
        std=tuple(given.get("image_std", CLIP_STD if is_clip else IMAGENET_STD)),
    )


def _side(size: Any, default: int) -> int:
    if isinstance(size, dict):
        return int(size.get("shortest_edge") or size.get("height") or default)
    return int(size)


def prepared(picture: NDArray[np.uint8], settings: PictureSettings) -> Any:
    """A square RGB picture (side, side, 3) as normalised (1, 3, crop_px, crop_px); values are rounded to whole levels
    after resizing, as Pillow's are."""
    import torch
    from torch.nn import functional

    x = torch.from_numpy(picture).permute(2, 0, 1)[None].to(torch.float32)
    size = (settings.resize_px, settings.resize_px)
    x = functional.interpolate(x, size=size, mode=settings.mode, align_corners=False, antialias=True)
    x = x.round().clamp(0, 255)
    edge = (settings.resize_px - settings.crop_px) // 2
    if edge > 0:
        x = x[:, :, edge : edge + settings.crop_px, edge : edge + settings.crop_px]
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (settings.mean, settings.std))
    return (x / 255.0 - mean) / std
