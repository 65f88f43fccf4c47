"""Voice activity: the probability of speech in each step.

`silero` is the Silero VAD network (MIT), 32 ms at a time with its state carried through the clip; `energy` needs no
weights and measures loudness above the clip's own noise floor. They are explicit choices, never a fallback.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.alignment.fingerprint import SILERO
from components.contracts.config import VoiceAlignment
from components.contracts.timebase import Grid, pool_mean
from components.media.sound import FULL_SCALE, levels_dbfs
from components.runtime.weights import weight_file

# Fixed by the network at 16 kHz: 512 new samples per call, preceded by the last 64 of the previous call.
RATE_HZ, CHUNK, CONTEXT, STATE = 16_000, 512, 64, (2, 1, 128)
SILENT_ONLY_AFTER = 8  # chunks of zeros that settle the state; a longer silence need not be computed

ENERGY_WINDOW_S = 0.02
ENERGY_FLOOR_PERCENTILE, ENERGY_PEAK_PERCENTILE = 10, 95
ENERGY_SHARE = 0.4  # of the way from floor to peak, in dB, where the probability of speech is one half
ENERGY_MIN_RANGE_DB = 15.0  # a clip with less between floor and peak is noise or a tone
ENERGY_SLOPE_DB = 3.0


class VoiceActivity(Protocol):
    """Estimates the probability of speech in each step."""

    def speech(self, pcm: NDArray[np.int16], grid: Grid) -> NDArray[np.float32]:
        """(N,) int16 at 16 kHz → (T,) float32 in [0, 1]."""
        ...


class Silero:
    """The Silero network on one thread. Raises UnavailableError if its weights are not installed."""

    def __init__(self) -> None:
        import onnxruntime  # imports that clips without sound spare

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = str(weight_file(SILERO))
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def speech(self, pcm: NDArray[np.int16], grid: Grid) -> NDArray[np.float32]:
        """See `VoiceActivity.speech`. Takes about 10 ms per second of sound."""
        chunks = -(-pcm.size // CHUNK)
        window = np.zeros((1, CONTEXT + CHUNK), dtype=np.float32)
        probability = np.zeros((chunks, 1), dtype=np.float32)
        state = np.zeros(STATE, dtype=np.float32)
        rate = np.array(RATE_HZ, dtype=np.int64)
        silent = 0
        for k in range(chunks):
            window[0, :CONTEXT] = window[0, CHUNK:]
            part = pcm[k * CHUNK : (k + 1) * CHUNK]
            window[0, CONTEXT : CONTEXT + part.size] = part.astype(np.float32) / np.float32(FULL_SCALE)
            window[0, CONTEXT + part.size :] = 0.0
            silent = silent + 1 if not window.any() else 0
            if silent > SILENT_ONLY_AFTER:
                continue
            probability[k], state = self._session.run(None, {"input": window, "state": state, "sr": rate})
        starts = np.arange(chunks, dtype=np.float64) * CHUNK / RATE_HZ
        return pool_mean(probability, starts, starts + CHUNK / RATE_HZ, grid)[0][:, 0]


class Energy:
    """Loudness above the clip's own noise floor."""

    def speech(self, pcm: NDArray[np.int16], grid: Grid) -> NDArray[np.float32]:
        """See `VoiceActivity.speech`."""
        starts = np.arange(max(1, pcm.size // round(ENERGY_WINDOW_S * RATE_HZ)), dtype=np.float64) * ENERGY_WINDOW_S
        level, _ = levels_dbfs(pcm, np.ones(pcm.size, dtype=bool), RATE_HZ, starts, ENERGY_WINDOW_S)
        audible = np.isfinite(level)
        if not audible.any():
            return np.zeros(grid.num_steps, dtype=np.float32)
        floor, peak = np.percentile(level[audible], [ENERGY_FLOOR_PERCENTILE, ENERGY_PEAK_PERCENTILE])
        if not audible.all():
            floor = min(floor, peak - ENERGY_MIN_RANGE_DB)  # digital silence is the floor
        middle = floor + max(ENERGY_SHARE * (peak - floor), ENERGY_MIN_RANGE_DB / 2)
        odds = np.where(audible, (level - middle) / ENERGY_SLOPE_DB, -np.inf)
        probability = 1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50)))
        return pool_mean(probability[:, None].astype(np.float32), starts, starts + ENERGY_WINDOW_S, grid)[0][:, 0]


def create_activity(config: VoiceAlignment) -> VoiceActivity:
    """The configured voice activity detector."""
    return Silero() if config.activity == "silero" else Energy()
