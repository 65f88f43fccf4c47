"""MTCNN face detection (Zhang et al. 2016, arXiv 1604.02878) in plain torch.

Three small nets: P proposes boxes on an image pyramid, R and O refine them. The architecture and the weights are those
of facenet-pytorch 2.6.0 (MIT), whose files carry tensors only; nothing of that package is imported, because it needs
torchvision. Boxes are pixels of the picture that is passed in.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from components.alignment.faces.detection import Boxes, Detection, overlap
from components.alignment.fingerprint import MTCNN
from components.runtime.weights import weight_file

# Zhang et al. and facenet-pytorch: a cell of P sees 12 pixels and moves by 2; R reads 24 and O 48 pixels.
CELL_PX, STRIDE_PX, R_PX, O_PX = 12, 2, 24, 48
PYRAMID_FACTOR = 0.709  # half the area from level to level
P_THRESHOLD, R_THRESHOLD = 0.6, 0.7
MAX_PROPOSALS = 256  # bounds the work of R on a picture that is all texture

Tensors = dict[str, torch.Tensor]


class Mtcnn:
    """The three nets with their weights.

    Args:
        min_face_px: smallest face looked for; each halving costs two more, larger, pyramid levels.
        min_confidence: threshold on the O net.

    Raises:
        UnavailableError: a weight file is missing or altered.
    """

    def __init__(self, *, min_face_px: int, min_confidence: float) -> None:
        self.min_face_px = min_face_px
        self.min_confidence = min_confidence
        self._p, self._r, self._o = (torch.load(weight_file(name), weights_only=True) for name in MTCNN)

    def detect(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """The faces of an (H, W, 3) RGB picture, most confident first. About 20 ms at 320 pixels on one core."""
        with torch.inference_mode():
            boxes = self._propose(rgb)
            boxes = self._refine(rgb, boxes)
            boxes, scores = self._output(rgb, boxes)
        order = np.argsort(-scores, kind="stable")
        return [Detection(box=boxes[i], confidence=float(scores[i])) for i in order]

    def _propose(self, rgb: NDArray[np.uint8]) -> Boxes:
        height, width = rgb.shape[:2]
        scale = CELL_PX / self.min_face_px
        levels = [np.zeros((0, 9), dtype=np.float32)]
        while min(height, width) * scale >= CELL_PX:
            size = (int(width * scale + 1), int(height * scale + 1))
            level = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
            probability, shift = _p_net(_normalised(level[None]), self._p)
            levels.append(_cells(probability[0].numpy(), shift[0].numpy(), scale))
            scale *= PYRAMID_FACTOR
        boxes = np.concatenate(levels)
        boxes = boxes[suppress(boxes[:, :4], boxes[:, 4], 0.7)[:MAX_PROPOSALS]]
        sides = np.tile(boxes[:, 2:4] - boxes[:, 0:2], 2)
        return _squared(boxes[:, :4] + boxes[:, 5:9] * sides)

    def _refine(self, rgb: NDArray[np.uint8], boxes: Boxes) -> Boxes:
        boxes, patches = _patches(rgb, boxes, R_PX)
        if not len(boxes):
            return boxes
        scores_t, shift_t = _r_net(_normalised(patches), self._r)
        scores, shift = scores_t.numpy(), shift_t.numpy()
        passed = np.nonzero(scores > R_THRESHOLD)[0]
        keep = passed[suppress(boxes[passed], scores[passed], 0.7)]
        return _squared(_shifted(boxes[keep], shift[keep]))

    def _output(self, rgb: NDArray[np.uint8], boxes: Boxes) -> tuple[Boxes, NDArray[np.float32]]:
        boxes, patches = _patches(rgb, boxes, O_PX)
        if not len(boxes):
            return boxes, np.zeros(0, dtype=np.float32)
        scores_t, shift_t = _o_net(_normalised(patches), self._o)
        scores, shift = scores_t.numpy(), shift_t.numpy()
        passed = np.nonzero(scores > self.min_confidence)[0]
        shifted, scores = _shifted(boxes[passed], shift[passed]), scores[passed]
        keep = suppress(shifted, scores, 0.7, of_smaller=True)
        return shifted[keep], scores[keep]


def suppress(boxes: Boxes, scores: NDArray[np.float32], threshold: float, *, of_smaller: bool = False) -> list[int]:
    """Non-maximum suppression.

    Args:
        boxes: (N, 4); scores: (N,).
        threshold: a box that overlaps a better one by more than this goes.
        of_smaller: measure the overlap as a share of the smaller box instead of the union.

    Returns:
        Indices of the boxes that stay, best first; ties keep their order.
    """
    order = np.argsort(-scores, kind="stable")
    keep: list[int] = []
    while order.size:
        best, rest = int(order[0]), order[1:]
        keep.append(best)
        order = rest[overlap(boxes[best], boxes[rest], of_smaller=of_smaller) <= threshold]
    return keep


def _normalised(rgb: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) bytes → (N, 3, H, W) float32 in about [-1, 1], as the nets were trained."""
    # The bytes stay where they are (channels last): max-pooling is then several times faster.
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float().sub_(127.5).mul_(0.0078125)


def _cells(probability: NDArray[np.float32], shift: NDArray[np.float32], scale: float) -> Boxes:
    """P's cells above the threshold as (N, 9) rows: box, score, shift; suppressed within the level."""
    y, x = np.nonzero(probability >= P_THRESHOLD)
    cell = np.stack([x, y], axis=1).astype(np.float32)
    start = np.floor((STRIDE_PX * cell + 1) / scale)
    end = np.floor((STRIDE_PX * cell + CELL_PX) / scale)
    rows = np.concatenate([start, end, probability[y, x][:, None], shift[:, y, x].T], axis=1).astype(np.float32)
    return rows[suppress(rows[:, :4], rows[:, 4], 0.5)]


def _shifted(boxes: Boxes, shift: NDArray[np.float32]) -> Boxes:
    sides = np.tile(boxes[:, 2:4] - boxes[:, 0:2] + 1, 2)
    return np.asarray(boxes + shift * sides, dtype=np.float32)


def _squared(boxes: Boxes) -> Boxes:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.max(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _patches(rgb: NDArray[np.uint8], boxes: Boxes, side_px: int) -> tuple[Boxes, NDArray[np.uint8]]:
    """The boxes that lie in the picture, and what is in them at the size a net reads."""
    height, width = rgb.shape[:2]
    keep, patches = [], []
    for i, (x0, y0, x1, y1) in enumerate(np.trunc(boxes).astype(int)):
        part = rgb[max(y0 - 1, 0) : min(y1, height), max(x0 - 1, 0) : min(x1, width)]
        if part.size:
            keep.append(i)
            patches.append(cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_AREA))
    if not keep:
        return boxes[:0], np.zeros((0, side_px, side_px, 3), dtype=np.uint8)
    return boxes[keep], np.stack(patches)


def _conv(x: torch.Tensor, weights: Tensors, layer: int) -> torch.Tensor:
    name = f"conv{layer}"
    return functional.prelu(
        functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"]), weights[f"prelu{layer}.weight"]
    )


def _pool(x: torch.Tensor, size: int) -> torch.Tensor:
    return functional.max_pool2d(x, size, 2, ceil_mode=True)


def _dense(x: torch.Tensor, weights: Tensors, name: str) -> torch.Tensor:
    return functional.linear(x, weights[f"dense{name}.weight"], weights[f"dense{name}.bias"])


def _flat(x: torch.Tensor) -> torch.Tensor:
    # The dense layers were trained on column-major maps.
    return x.permute(0, 3, 2, 1).reshape(x.shape[0], -1)


def _p_net(x: torch.Tensor, weights: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    x = _conv(_conv(_pool(_conv(x, weights, 1), 2), weights, 2), weights, 3)
    score = functional.conv2d(x, weights["conv4_1.weight"], weights["conv4_1.bias"]).softmax(dim=1)[:, 1]
    return score, functional.conv2d(x, weights["conv4_2.weight"], weights["conv4_2.bias"])


def _r_net(x: torch.Tensor, weights: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    x = _conv(_pool(_conv(_pool(_conv(x, weights, 1), 3), weights, 2), 3), weights, 3)
    x = functional.prelu(_dense(_flat(x), weights, "4"), weights["prelu4.weight"])
    return _dense(x, weights, "5_1").softmax(dim=1)[:, 1], _dense(x, weights, "5_2")


def _o_net(x: torch.Tensor, weights: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    x = _conv(_pool(_conv(_pool(_conv(x, weights, 1), 3), weights, 2), 3), weights, 3)
    x = functional.prelu(_dense(_flat(_conv(_pool(x, 2), weights, 4)), weights, "5"), weights["prelu5.weight"])
    return _dense(x, weights, "6_1").softmax(dim=1)[:, 1], _dense(x, weights, "6_2")
