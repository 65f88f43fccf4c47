"""The parts of an answer, each from what the model gave."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from components.contracts.records import AlignedClip
from components.features.base import mask_of
from components.inference.contradiction import find_spans
from components.inference.episodes import Episode
from components.inference.outliers import OutlierCheck
from components.inference.scoring import Scored
from components.serving.answers.schemas import (
    Contradiction,
    ContradictionSpan,
    EpisodeView,
    ModalityDistance,
    ModalityView,
    Moment,
    OutsideTraining,
)
from components.serving.answers.words import contradiction_words, outside_words, pair_words

MOMENT = "moment"
# Left, top, right and bottom, as shares of the picture's width and height.
FaceBox = tuple[float, float, float, float]
SHARE_DIGITS = 4


def by_class(classes: tuple[str, ...], row: NDArray[np.float32]) -> dict[str, float]:
    """A posterior (K,) by the names of the classes."""
    return {name: float(value) for name, value in zip(classes, row, strict=True)}


def contradiction(classes: tuple[str, ...], scored: Scored | None, threshold: float, rate_hz: float) -> Contradiction:
    """Whether the modalities of a clip say different things, and each one's own emotion; without a score where fewer
    than two can be judged."""
    views = {}
    for modality, row in (scored.unimodal_posterior if scored else {}).items():
        posterior = by_class(classes, row)
        emotion = max(posterior, key=lambda name: posterior[name])
        views[modality] = ModalityView(emotion=emotion, confidence=posterior[emotion], posterior=posterior)
    moments = scored.moments if scored else None
    if scored is None or moments is None:
        words = contradiction_words(None, None, {}, threshold=threshold, present=scored.present if scored else ())
        return Contradiction(score=None, threshold=threshold, at_s=None, pair=None, modalities=views, words=words)
    score, pair, at_s = scored.contradiction, scored.contradiction_pair, moments.worst_step / rate_hz
    emotions = moments.emotions(slice(moments.worst_step, moments.worst_step + 1), classes)
    words = contradiction_words(score, pair, emotions, threshold=threshold, at_s=at_s, present=scored.present)
    return Contradiction(score=score, threshold=threshold, at_s=at_s, pair=pair, modalities=views, words=words)


def episode_view(episode: Episode, *, steps: int) -> EpisodeView:
    """An episode of a clip of some steps; what a single moment is the beginning or the end of is unknown."""
    view = EpisodeView.model_validate(episode.to_json())
    return view.model_copy(update={"kind": MOMENT}) if steps == 1 else view


def contradiction_spans(
    classes: tuple[str, ...], scored: Scored | None, threshold: float, rate_hz: float, duration_s: float
) -> tuple[ContradictionSpan, ...]:
    """When the modalities disagree beyond the threshold."""
    if scored is None or scored.moments is None:
        return ()
    spans = find_spans(scored.moments, scored.step_contradiction, threshold=threshold, classes=classes, rate_hz=rate_hz)
    return tuple(
        ContradictionSpan(
            onset_s=span.onset_s,
            # As with episodes: the last step of the grid may reach beyond the clip.
            offset_s=min(span.offset_s, duration_s),
            score=span.score,
            pair=span.pair,
            says={name: emotion for name, (emotion, _) in span.says.items()},
            words=f"{span.onset_s:.1f} to {min(span.offset_s, duration_s):.1f} s: {pair_words(span.pair, span.says)}",
        )
        for span in spans
    )


def outside_training(
    judged: Mapping[str, OutlierCheck], *, trained_on: tuple[str, ...], experts: tuple[str, ...]
) -> OutsideTraining:
    """How far each modality of a clip lies from the training data; a clip of which nothing could be compared lies
    outside."""
    distances = {
        name: ModalityDistance(distance=check.distance, threshold=check.threshold, outside=bool(check.outside))
        for name, check in judged.items()
    }
    return OutsideTraining(
        flag=not distances or any(distance.outside for distance in distances.values()),
        modalities=distances,
        words=outside_words(distances, trained_on, experts),
    )


def timeline(
    classes: tuple[str, ...],
    posterior: NDArray[np.float32],
    masks: Mapping[str, NDArray[np.bool_]],
    scored: Scored | None,
    *,
    rate_hz: float,
    duration_s: float,
) -> tuple[Moment, ...]:
    """A moment per step of `posterior` (T, K): its emotion, what is present in it by `masks` {m: (T,)}, contradiction
    and mood. `scored` is None where there was nothing to judge."""
    steps = len(posterior)
    conflict = np.full(steps, np.nan) if scored is None else scored.step_contradiction
    mood = None if scored is None else scored.step_valence_arousal
    moments = []
    for step, row in enumerate(posterior):
        present = tuple(name for name, mask in masks.items() if mask[step])
        valence, arousal = mood_of(mood[step] if mood is not None and present else None)
        moments.append(
            Moment(
                start_s=step / rate_hz,
                end_s=min((step + 1) / rate_hz, duration_s),
                emotion=classes[int(row.argmax())] if present else None,
                posterior=by_class(classes, row) if present else {},
                present=present,
                contradiction=None if np.isnan(conflict[step]) else float(conflict[step]),
                valence=valence,
                arousal=arousal,
            )
        )
    return tuple(moments)


def face_boxes(clip: AlignedClip) -> tuple[FaceBox | None, ...]:
    """Per step, where the face is that was read; empty for a clip without one, or whose picture's size is not known."""
    if clip.canvas is None or not mask_of(clip, "face").any():
        return ()
    shares = np.clip(clip.face_box.astype(np.float64) / np.tile(clip.canvas, 2), 0.0, 1.0).round(SHARE_DIGITS)
    return tuple(
        (float(left), float(top), float(right), float(bottom)) if valid else None
        for (left, top, right, bottom), valid in zip(shares, mask_of(clip, "face"), strict=True)
    )


def mood_of(values: NDArray[np.float32] | None) -> tuple[float | None, float | None]:
    """(valence, arousal) of a row (2,); both None without one, or where it is NaN."""
    return (None, None) if values is None or np.isnan(values).any() else (float(values[0]), float(values[1]))
