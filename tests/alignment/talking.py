"""Rendered people who talk: the synthetic corpus's own faces and voices, put together as a test needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from components.datasets.synthetic.action import action_units
from components.datasets.synthetic.face import FacePainter, poses
from components.datasets.synthetic.plan import ClipPlan, DisplayPart, plan_corpus
from components.datasets.synthetic.signs import SIGNS
from components.datasets.synthetic.voice import RATE_HZ, speak
from tests.alignment.media import Picture

FPS = 25
# Faces whose mouth is free to speak: the others hold it open or in a smile, over which a syllable hardly shows.
FREE_MOUTHS = frozenset({"still", "scowl"})


@cache
def talkers(count: int, *, picture_px: int = 192) -> list[ClipPlan]:
    """Plans of clips without a flaw in which every face has a free mouth, no two of one person in a row."""
    plans = plan_corpus(seed=7, subjects=56, clips_per_subject=2, picture_px=picture_px)
    free = (plan for plan in plans if {SIGNS[part.emotion].face for part in plan.shown} <= FREE_MOUTHS)
    fit = sorted((plan for plan in free if plan.flaw is None), key=lambda plan: (plan.clip, plan.subject))
    return list(islice(fit, count))


def twice(plan: ClipPlan) -> ClipPlan:
    """The same person saying it all again: about ten seconds."""
    again = [
        replace(word, start_s=word.start_s + plan.duration_s, end_s=word.end_s + plan.duration_s) for word in plan.words
    ]

    def longer(parts: tuple[DisplayPart, ...]) -> tuple[DisplayPart, ...]:
        return (*parts[:-1], replace(parts[-1], end_s=2 * plan.duration_s))

    return replace(
        plan,
        duration_s=2 * plan.duration_s,
        words=(*plan.words, *again),
        shown=longer(plan.shown),
        voiced=longer(plan.voiced),
    )


def listener(plan: ClipPlan) -> ClipPlan:
    """The same person with the same face, saying nothing."""
    return replace(plan, words=())


def pictures_of(plan: ClipPlan, duration_s: float) -> list[Picture]:
    """The face at FPS, RGB; from the end of its plan on it holds its last look."""
    times_s = np.minimum(np.arange(round(duration_s * FPS)) / FPS, plan.duration_s)
    painter, units = FacePainter(plan), action_units(plan, times_s)
    return [
        np.ascontiguousarray(painter.paint(row, pose, index)[..., ::-1])
        for index, (row, pose) in enumerate(zip(units, poses(plan, times_s), strict=True))
    ]


def voice_of(plan: ClipPlan, *, late_s: float = 0.0) -> NDArray[np.float32]:
    """The voice at RATE_HZ, float, so much after the lips; what is pushed out of the clip is lost."""
    samples = speak(plan).astype(np.float32) / 32768
    shift = round(late_s * RATE_HZ)
    moved = np.zeros_like(samples)
    if shift >= 0:
        moved[shift:] = samples[: samples.size - shift]
    else:
        moved[:shift] = samples[-shift:]
    return moved


def beside(left: Sequence[Picture], right: Sequence[Picture]) -> list[Picture]:
    """Two people in one picture, the smaller one on a grey ground."""
    height = max(left[0].shape[0], right[0].shape[0])

    def on_ground(picture: Picture) -> Picture:
        above = height - picture.shape[0]
        return np.asarray(np.pad(picture, ((above, 0), (0, 0), (0, 0)), constant_values=120), dtype=np.uint8)

    return [np.concatenate([on_ground(a), on_ground(b)], axis=1) for a, b in zip(left, right, strict=True)]
