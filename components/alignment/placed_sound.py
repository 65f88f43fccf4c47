"""Places the clip's sound on its grid: samples by timestamp, and the steps with audible sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.alignment import quality
from components.alignment.streams import Media
from components.contracts.config import VoiceAlignment
from components.contracts.timebase import Grid
from components.media.sound import levels_dbfs, place, samples_of

MIN_PRESENT = 0.5  # share of a step whose samples must exist


@dataclass(frozen=True, kw_only=True)
class PlacedSound:
    """`pcm` (N,) from the clip's zero on, `audible` (T,) True where a step has sound, and notes for a person."""

    pcm: NDArray[np.int16]
    audible: NDArray[np.bool_]
    notes: tuple[str, ...] = ()


def placed_sound(media: Media, grid: Grid, config: VoiceAlignment) -> PlacedSound:
    """The sound of a clip on a grid of T steps; silence without a sound stream."""
    if media.sound is None:
        size = samples_of(media.duration_s, config.rate_hz)
        return PlacedSound(pcm=np.zeros(size, dtype=np.int16), audible=np.zeros(grid.num_steps, dtype=bool))
    pcm, exists = place(media.sound, origin_s=media.sound_origin_s, duration_s=media.duration_s)
    level, present = levels_dbfs(pcm, exists, config.rate_hz, grid.starts_s, 1.0 / grid.rate_hz)
    audible = np.asarray((present >= MIN_PRESENT) & (level > config.level_floor_dbfs), dtype=bool)
    silent = () if audible.any() else ("the sound is silent",)
    notes = (*silent, *quality.clipping(pcm[exists]), *_hole_notes(exists, config.rate_hz))
    return PlacedSound(pcm=pcm, audible=audible, notes=notes)


def _hole_notes(exists: NDArray[np.bool_], rate_hz: int) -> list[str]:
    first, last = np.nonzero(exists)[0][[0, -1]] if exists.any() else (0, 0)
    missing_s = float((~exists[first : last + 1]).sum()) / rate_hz
    return [f"{missing_s:.2f} s are missing within the sound"] if missing_s >= quality.NOTE_HOLE_S else []
