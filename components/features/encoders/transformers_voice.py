"""`transformers:<name or folder>` (voice): wav2vec 2.0, HuBERT or WavLM; the last hidden state, a vector each 20 ms.

The wave is normalised to zero mean and unit variance over the clip where the checkpoint was trained so (which the
published pipeline this project follows forgets), and always has one level (`audio.py`). Clips are not padded to each
other: the base models' group norm runs over time, so padding would change every frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.errors import ConfigError
from components.contracts.pretrained import Pretrained
from components.contracts.records import AlignedClip
from components.contracts.timebase import pool_mean
from components.features.base import Encoded, empty, mask_of, masked
from components.features.classification import ClassificationHead
from components.features.encoders.audio import AUDIO_VERSION, has_voice, level_normalised
from components.features.encoders.log_mel import RATE_HZ
from components.runtime.checkpoint import Checkpoint, load_model, settings

VERSION = 1
MODEL_TYPES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat")
CHUNK_SAMPLES = 30 * RATE_HZ
VARIANCE_FLOOR = 1e-7

WaveToRows = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class TransformersVoice:
    """A speech checkpoint; half precision on a GPU, float32 on a CPU; each clip by itself."""

    modality = "voice"

    def __init__(self, name: str, location: str, device: str) -> None:
        self.name = name
        self._checkpoint = Checkpoint(name, location, device)
        config = self._checkpoint.config
        self._checkpoint.require_type(MODEL_TYPES, modality=self.modality)
        self._head = ClassificationHead(
            self._checkpoint, "ForSequenceClassification", "AutoModelForAudioClassification"
        )
        given = settings(self._checkpoint.folder, "preprocessor_config.json")
        if int(given.get("sampling_rate", RATE_HZ)) != RATE_HZ:
            raise ConfigError(
                "the checkpoint needs a different sampling rate",
                where="features.encoders.voice",
                seen=given["sampling_rate"],
                allowed=RATE_HZ,
            )
        self._unit_variance = bool(given.get("do_normalize", True))
        self.width = int(config["hidden_size"])
        strides = config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))
        kernels = config.get("conv_kernel", (10, 3, 3, 3, 3, 2, 2))
        self._hop, self._field = frame_geometry(strides, kernels)

    @property
    def fingerprint(self) -> str:
        """Hash of this code's version, the checkpoint's content and the precision."""
        return self._checkpoint.content_fingerprint(["voice", VERSION, AUDIO_VERSION])

    @property
    def pretrained(self) -> Pretrained | None:
        """The emotions of its classification head, if it has one."""
        return self._head.pretrained

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, D) per clip; valid where the voice mask is."""
        return [self._outputs(clip, self._frames, self.width) for clip in clips]

    def classify(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, labels) scores per clip: those of the whole clip at each step, or of each of its parts of up to 30 s;
        valid as `encode`."""
        return [self._outputs(clip, self._scores, self._head.width) for clip in clips]

    def _outputs(self, clip: AlignedClip, of: WaveToRows, width: int) -> Encoded:
        """(T, width) of a clip; `of` gives the (frames, width) of a part of its wave."""
        if not has_voice(clip):
            return empty(clip.grid.num_steps, width)
        wave = level_normalised(clip)
        if self._unit_variance:
            wave = ((wave - wave.mean()) / np.sqrt(wave.var() + VARIANCE_FLOOR)).astype(np.float32)
        parts = math.ceil(wave.size / CHUNK_SAMPLES)
        part = math.ceil(wave.size / parts / self._hop) * self._hop
        values, starts_s, ends_s = [], [], []
        for start in range(0, wave.size, part):
            # Each part reads on for as long as its last frame looks, so that no frame is lost between two parts.
            frames = of(wave[start : start + part + self._field - self._hop])
            centres_s = (start + np.arange(len(frames)) * self._hop + self._field / 2) / RATE_HZ
            values.append(frames)
            starts_s.append(centres_s - self._hop / 2 / RATE_HZ)
            ends_s.append(centres_s + self._hop / 2 / RATE_HZ)
        begin, end = np.concatenate(starts_s), np.concatenate(ends_s)
        # The first and last frame stand for the samples at the edges, which no frame is centred on.
        begin[0], end[-1] = 0.0, max(end[-1], wave.size / RATE_HZ)
        pooled, covered = pool_mean(np.concatenate(values), begin, end, clip.grid)
        return masked(pooled, covered & mask_of(clip, "voice"))

    def _frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) of a part."""
        return self._forward(self._model(), wave, lambda out: out.last_hidden_state[0])

    def _scores(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, labels) of a part: the same for each of its frames."""
        scores = self._forward(self._head.model(), wave, lambda out: out.logits)
        return np.repeat(scores, max(1, (wave.size - self._field) // self._hop + 1), axis=0)

    def _forward(self, model: Any, wave: NDArray[np.float32], output: Callable[[Any], Any]) -> NDArray[np.float32]:
        import torch

        if wave.size < self._field:
            wave = np.pad(wave, (0, self._field - wave.size))
        with torch.inference_mode():
            values = torch.from_numpy(wave)[None].to(self._checkpoint.device, model.dtype)
            return np.asarray(output(model(input_values=values)).float().cpu().numpy(), dtype=np.float32)

    def _model(self) -> Any:
        if self._checkpoint.model is None:
            self._checkpoint.model = load_model("AutoModel", self._checkpoint.folder, self._checkpoint.device)
        return self._checkpoint.model


def frame_geometry(strides: Sequence[int], kernels: Sequence[int]) -> tuple[int, int]:
    """(hop, receptive field) in samples of a stack of unpadded convolutions; (320, 400) for the usual seven."""
    hop, field = 1, 1
    for stride, kernel in zip(strides, kernels, strict=True):
        field += (kernel - 1) * hop
        hop *= stride
    return hop, field
