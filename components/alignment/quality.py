"""The quality of a clip's alignment: figures, notes for a person, and a gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.contracts.codes import Code
from components.contracts.config import AlignmentQuality
from components.contracts.errors import MediaError
from components.contracts.records import Quality

if TYPE_CHECKING:
    from components.alignment.faces.av_offset import AvOffset

NOTE_OFFSET_S = 0.05  # people notice sound that is early or late by about this much (ITU-R BT.1359: 45 to 125 ms)
NOTE_AV_OFFSET_S = 0.125  # where viewers find it annoying (same source); mouths that open early are below it
NOTE_DRIFT_S_PER_MIN = 0.02
NOTE_IRREGULAR_CV = 0.25
NOTE_EARLY_END_S = 0.25
NOTE_HOLE_S = 0.1
NOTE_CLIPPED_SHARE = 0.01
FULL_SCALE = 32_767


def coverage(masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
    """Share of valid steps for each modality."""
    return {name: float(np.mean(mask)) for name, mask in sorted(masks.items())}


def clock_notes(*, offset_s: float, drift_s_per_min: float, frame_interval_cv: float | None) -> list[str]:
    """Notes for a person on the two streams' clocks."""
    notes = []
    if abs(offset_s) >= NOTE_OFFSET_S:
        side = "after" if offset_s > 0 else "before"
        notes.append(f"sound starts {abs(offset_s):.2f} s {side} the picture")
    if abs(drift_s_per_min) >= NOTE_DRIFT_S_PER_MIN:
        notes.append(f"sound runs away from its timestamps by {drift_s_per_min:+.2f} s a minute; stretched to them")
    if frame_interval_cv is not None and frame_interval_cv >= NOTE_IRREGULAR_CV:
        notes.append("the frame rate varies")
    return notes


def av_offset_notes(apart: AvOffset | None) -> list[str]:
    """A note where lips and sound are further apart than people tolerate, and than the estimate is uncertain."""
    if apart is None or abs(apart.offset_s) < max(NOTE_AV_OFFSET_S, 2 * apart.error_s):
        return []
    side = "after" if apart.offset_s > 0 else "before"
    return [
        f"the sound seems to come {abs(apart.offset_s):.2f} s (± {apart.error_s:.2f}) {side} the lips; not corrected"
    ]


def ended_early(what: str, end_s: float, declared_end_s: float | None) -> list[str]:
    """A note when a stream stops before the end in the file's header."""
    if declared_end_s is None or declared_end_s - end_s < NOTE_EARLY_END_S:
        return []
    return [f"{what} ended early: {declared_end_s - end_s:.2f} s of it are missing"]


def clipping(pcm: NDArray[np.int16]) -> list[str]:
    """A note when many of the samples (n,) lie at full scale: louder sound was lost."""
    share = float(np.mean((pcm >= FULL_SCALE) | (pcm <= -FULL_SCALE))) if pcm.size else 0.0
    return [f"the sound is clipped: {share:.0%} of it lies at full scale"] if share >= NOTE_CLIPPED_SHARE else []


@dataclass(frozen=True, kw_only=True)
class AlignmentGate:
    """One bound on a clip's alignment; `validation` holds the stored figures against the same ones.

    Attributes:
        code: of the quarantine row.
        column: the figure's name in the quality table.
        figure: the bounded value; bounds: the least and the largest value that pass.
        what, remedy: of the refusal; seen, allowed: its values as text.
    """

    code: Code
    column: str
    figure: Callable[[Quality], float]
    bounds: Callable[[AlignmentQuality], tuple[float, float]]
    what: str
    seen: Callable[[Quality], str]
    allowed: Callable[[AlignmentQuality], str]
    remedy: str


def best_coverage(coverage: Mapping[str, float]) -> float:
    """The share of valid steps of the best covered modality."""
    return max(coverage.values(), default=0.0)


GATES = (
    AlignmentGate(
        code=Code.OFFSET,
        column="offset_s",
        figure=lambda quality: quality.offset_s,
        bounds=lambda config: (-config.max_abs_offset_s, config.max_abs_offset_s),
        what="picture and sound start too far apart to belong together",
        seen=lambda quality: f"{quality.offset_s:+.2f} s",
        allowed=lambda config: f"at most {config.max_abs_offset_s:g} s",
        remedy="Check the recording, or raise alignment.quality.max_abs_offset_s",
    ),
    AlignmentGate(
        code=Code.DRIFT,
        column="drift_s_per_min",
        figure=lambda quality: quality.drift_s_per_min,
        bounds=lambda config: (-config.max_abs_drift_s_per_min, config.max_abs_drift_s_per_min),
        what="the sound's clock drifts away from the picture's",
        seen=lambda quality: f"{quality.drift_s_per_min:+.2f} s a minute",
        allowed=lambda config: f"at most {config.max_abs_drift_s_per_min:g} s per minute",
        remedy="Check the recording's sample rate, or raise alignment.quality.max_abs_drift_s_per_min",
    ),
    AlignmentGate(
        code=Code.COVERAGE,
        column="best_coverage",
        figure=lambda quality: best_coverage(quality.coverage),
        bounds=lambda config: (config.min_coverage_any, 1),
        what="no modality covers enough of the clip",
        seen=lambda quality: "; ".join(
            [f"{name} {share:.0%}" for name, share in quality.coverage.items()] + list(quality.notes)
        ),
        allowed=lambda config: f"one modality on at least {config.min_coverage_any:.0%} of the steps",
        remedy="The figures say what was found: take the clip out where nobody is seen or heard in it for long enough, "
        "or lower alignment.quality.min_coverage_any",
    ),
)


def gate(quality: Quality, config: AlignmentQuality, *, where: str) -> None:
    """Refuses a clip whose streams cannot belong together, or of which too little is usable.

    Raises:
        MediaError: `offset`, `drift` or `coverage`; the clip goes to quarantine.
    """
    for bound in GATES:
        low, high = bound.bounds(config)
        if bound.figure(quality) < low or bound.figure(quality) > high:
            raise MediaError(
                bound.what,
                where=where,
                seen=bound.seen(quality),
                allowed=bound.allowed(config),
                remedy=bound.remedy,
                code=bound.code,
            )
