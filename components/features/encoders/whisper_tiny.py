"""`whisper-tiny` (voice): the encoder of Whisper tiny.en, 384 features per step; needs no download. And
`whisper-tiny-frames`, its first layer, for a model that has the others and lets them learn.

The wave is level-normalised (`audio.py`), goes through Whisper's own log-mel and its encoder at the clip's *own*
length: not padded to 30 s as Whisper does, which would cost ten times as much. A clip longer than 30 s, for which the
encoder has no positions, is cut into equal parts. Frame k of the encoder is centred on k · 20 ms; frames are pooled
into the steps they overlap.

The features are the mean of the outputs of layers 1 to 3 of 4. The last layer serves the decoder, that is the words;
how something is said is clearer before it. Logistic regression on the clip mean, RAVDESS speech, eight classes, six
folds of four unseen actors (accuracy ± spread over folds): layer 1 0.678 ± 0.073, 2 0.730 ± 0.058, 3 0.724 ± 0.047,
4 (the usual choice) 0.705 ± 0.047, mean of 1 to 3 0.738 ± 0.061. On eight actors alone, in four
folds: 0.535, 0.579, 0.575 and 0.531.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.contracts.errors import ConfigError
from components.contracts.fingerprint import fingerprint
from components.contracts.records import AlignedClip
from components.contracts.timebase import pool_mean
from components.features.base import Encoded, empty, mask_of, masked
from components.features.encoders.audio import AUDIO_VERSION, has_voice, level_normalised
from components.features.encoders.ct2_reader import read_ct2
from components.features.encoders.log_mel import HOP_SAMPLES, RATE_HZ, whisper_log_mel
from components.runtime.weights import WEIGHTS, weight_file

if TYPE_CHECKING:
    from components.features.encoders.whisper_net import WhisperEncoder

VERSION = 1
FRAMES_VERSION = 1
WIDTH = 384
FRAME_S = 2 * HOP_SAMPLES / RATE_HZ
CHUNK_SAMPLES = 30 * RATE_HZ
FIRST_LAYER, LAST_LAYER = 1, 3
HEADS = 6
# Of `whisper-tiny-frames`: the layers that it runs, and the frames of 20 ms in a step of its grid.
LOWER_LAYERS = 1
FRAME_GRID_HZ = 10.0
FRAMES_PER_STEP = 5


class _OfWhisper:
    """An encoder that runs layers of Whisper tiny.en, whose weights are read when they are first needed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._net: WhisperEncoder | None = None

    def _network(self) -> WhisperEncoder:
        if self._net is None:
            self._net = network()
        return self._net


class WhisperTiny(_OfWhisper):
    """Whisper tiny.en's encoder, in float32 on the CPU. About 40 ms for 3.7 s of speech on one thread."""

    modality = "voice"
    width = WIDTH

    def __init__(self, name: str = "whisper-tiny") -> None:
        super().__init__(name)

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, this code's version and the weights."""
        return fingerprint(
            {
                "spec": self.name,
                "version": [VERSION, AUDIO_VERSION],
                "layers": [FIRST_LAYER, LAST_LAYER],
                "weights": WEIGHTS["whisper-tiny"].sha256,
            }
        )

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 384) per clip; valid where the voice mask is."""
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        if not has_voice(clip):
            return empty(clip.grid.num_steps, self.width)
        import torch

        net = self._network()
        wave = level_normalised(clip)
        parts = math.ceil(wave.size / CHUNK_SAMPLES)
        # Whole frames a part, so that the frames of all parts lie on one 20 ms raster.
        part = math.ceil(wave.size / parts / (2 * HOP_SAMPLES)) * 2 * HOP_SAMPLES
        frames = []
        with torch.inference_mode():
            for start in range(0, wave.size, part):
                mel = torch.from_numpy(whisper_log_mel(wave[start : start + part]))
                states = net.hidden_states(mel[None], layers=LAST_LAYER)[FIRST_LAYER:]
                frames.append(torch.stack(states).mean(dim=0)[0].numpy())
        values = np.concatenate(frames)
        centres_s = np.arange(len(values), dtype=np.float64) * FRAME_S
        starts_s, ends_s = np.maximum(centres_s - FRAME_S / 2, 0.0), centres_s + FRAME_S / 2
        ends_s[-1] = max(ends_s[-1], wave.size / RATE_HZ)
        pooled, covered = pool_mean(values, starts_s, ends_s, clip.grid)
        return masked(pooled, covered & mask_of(clip, "voice"))


class WhisperFrames(_OfWhisper):
    """The output of the first layer of Whisper tiny.en, all frames of a step side by side: (T, 5 · 384).

    The layers after it are a part of the model (`components/model/upper_layers.py`), which pools their frames into
    steps as `whisper-tiny` does. A frame that the sound does not reach is zeros. The parts of a long clip are 30 s
    long, as there.
    """

    modality = "voice"
    width = FRAMES_PER_STEP * WIDTH

    def __init__(self, name: str = "whisper-tiny-frames") -> None:
        super().__init__(name)

    @property
    def fingerprint(self) -> str:
        """Hash of the spec, this code's version and the weights."""
        return fingerprint(
            {
                "spec": self.name,
                "version": [FRAMES_VERSION, AUDIO_VERSION],
                "layers": LOWER_LAYERS,
                "weights": WEIGHTS["whisper-tiny"].sha256,
            }
        )

    def encode(self, clips: Sequence[AlignedClip]) -> list[Encoded]:
        """(T, 1920) per clip; valid where the voice mask is.

        Raises:
            ConfigError: the grid does not have ten steps per second.
        """
        return [self._encode(clip) for clip in clips]

    def _encode(self, clip: AlignedClip) -> Encoded:
        steps = clip.grid.num_steps
        if clip.grid.rate_hz != FRAME_GRID_HZ:
            raise ConfigError(
                f"{self.name} puts five frames of 20 ms into a step",
                where="alignment.rate_hz",
                seen=clip.grid.rate_hz,
                allowed=FRAME_GRID_HZ,
                remedy="Set alignment.rate_hz as allowed, or features.encoders.voice: whisper-tiny.",
            )
        if not has_voice(clip):
            return empty(steps, self.width)
        import torch

        net = self._network()
        wave = level_normalised(clip)
        frames_ND = np.zeros((steps * FRAMES_PER_STEP, WIDTH), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, wave.size, CHUNK_SAMPLES):
                mel = torch.from_numpy(whisper_log_mel(wave[start : start + CHUNK_SAMPLES]))
                part = net.hidden_states(mel[None], layers=LOWER_LAYERS)[-1][0].numpy()
                place = frames_ND[start // (2 * HOP_SAMPLES) :][: len(part)]
                place[:] = part[: len(place)]
        values_TD = frames_ND.reshape(steps, self.width)
        return masked(values_TD, values_TD.any(axis=1) & mask_of(clip, "voice"))


def network() -> WhisperEncoder:
    """The encoder with its weights. Raises UnavailableError: they are not installed."""
    from components.features.encoders.whisper_net import encoder_from_ct2

    model = read_ct2(weight_file("whisper-tiny"), lambda name: name.startswith("encoder/"))
    return encoder_from_ct2(model.variables)
