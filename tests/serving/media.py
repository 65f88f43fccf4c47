"""Tiny media, synthesised: a moving picture with a tone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE_HZ = 25
SOUND_HZ = 16000


def video(
    path: Path, *, seconds: float = 2.0, sound: bool = True, seed: int = 0, side_px: int = 128, codec: str = "libx264"
) -> Path:
    """A video (H.264 unless another codec is named, with AAC sound) of drifting blobs and a swelling tone."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        picture = container.add_stream(
            codec, rate=RATE_HZ, options={"preset": "ultrafast"} if codec == "libx264" else {}
        )
        picture.width = picture.height = side_px
        picture.pix_fmt = "yuv420p"
        tone = container.add_stream("aac", rate=SOUND_HZ, layout="mono") if sound else None
        for index in range(round(seconds * RATE_HZ)):
            pixels = np.kron(
                np.roll(base, index // 5, axis=0), np.ones((side_px // 8, side_px // 8, 1), dtype=np.uint8)
            )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if tone is not None:
            time_s = np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
            wave = (0.3 * np.sin(2 * np.pi * 200 * time_s) * np.minimum(1, time_s)).astype(np.float32)
            for start in range(0, wave.size - 1023, 1024):
                block = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = SOUND_HZ, start, Fraction(1, SOUND_HZ)
                container.mux(tone.encode(block))
            container.mux(tone.encode())
    return path


def sound(path: Path, *, seconds: float = 2.0, level: float = 0.3) -> Path:
    """A mono wav with a tone; level 0 is silence."""
    import soundfile

    time_s = np.arange(round(seconds * SOUND_HZ)) / SOUND_HZ
    soundfile.write(path, (level * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32), SOUND_HZ)
    return path
