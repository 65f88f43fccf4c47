"""`fer` (face): mini-XCEPTION trained on FER2013, 128 features per step; needs no download.

The features are the last 128 maps averaged over the picture, which the network's own classifier reads. Heads of ours
are trained on the features; its seven expressions are used where there was no face to train on. Crops go in as its
package does it: grey, 64×64, scaled to [−1, 1]. Alignment's crop is a square 1.2 times the face's longer side, which is
what the package cuts around a face of 100 pixels; on ten real clips the network's own confidence was no higher on a
tighter crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.contracts.fingerprint import fingerprint
from components.contracts.pretrained import Pretrained
from components.contracts.records import AlignedClip
from components.features.base import Encoded, empty, masked
from components.features.encoders.faces import grey_crops, valid_steps
from components.runtime.weights import WEIGHTS, weight_file

if TYPE_CHECKING:
    from components.features.encoders.fer_net import MiniXception

VERSION = 1
WIDTH = 128
# The expressions of FER2013, in the order of the network's scores.
LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FEATURES, SCORES = 0, 1  # the network's outputs
SIDE_PX = 64
# Fitted on 2,025 photographs of 1,429 people, of which it recognises 0.49: its calibration error there is 0.06 with it
# and 0.12 without.
TEMPERATURE = 1.92
TRAINED_ON = "FER2013: 28,709 photographs from a web search (Goodfellow et al. 2013)"
# Bounds the memory of a long clip; pictures do not see each other, so the numbers do not depend on it.
BATCH_PICTURES = 64


class Fer:
    """mini-XCEPTION in float32 on the CPU. About 1 ms a step on one thread."""

    modality = "face"
    width = WIDTH

    def __init__(self, name: str = "fer") -> None:
        self.name = name
        self._net: MiniXception | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, this code's version, and the weights."""
        return fingerprint({"spec": self.name, "version": VERSION, "weights": WEIGHTS["fer"].sha256})

    @property
    def pretrained(self) -> Pretrained:
        """The seven expressions of FER2013."""
        return Pretrained(labels=LABELS, temperature=TEMPERATURE, trained_on=TRAINED_ON)

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 128) per clip; valid where there is a face. Raises MediaError on a crop that is not a picture."""
        return [self._outputs(clip, FEATURES, self.width) for clip in clips]

    def classify(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 7) scores per clip, as `encode`."""
        return [self._outputs(clip, SCORES, len(LABELS)) for clip in clips]

    def _outputs(self, clip: AlignedClip, output: int, width: int) -> Encoded:
        """(T, width): one of the network's two outputs, at each step with a face."""
        steps = valid_steps(clip)
        if not steps.size:
            return empty(clip.grid.num_steps, width)
        import torch

        net = self._network()
        values = np.zeros((clip.grid.num_steps, width), dtype=np.float32)
        valid = np.zeros(clip.grid.num_steps, dtype=bool)
        valid[steps] = True
        with torch.inference_mode():
            for start in range(0, steps.size, BATCH_PICTURES):
                part = steps[start : start + BATCH_PICTURES]
                grey = grey_crops(clip, part, SIDE_PX).astype(np.float32) / 127.5 - 1.0
                values[part] = net(torch.from_numpy(grey[..., None]).permute(0, 3, 1, 2))[output].numpy()
        return masked(values, valid)

    def _network(self) -> MiniXception:
        if self._net is None:
            from components.features.encoders.fer_net import mini_xception

            self._net = mini_xception(weight_file("fer"))
        return self._net
