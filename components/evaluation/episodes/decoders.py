"""The ways from step posteriors to episodes: how each is fitted, and how they compare on the same clips.

All choices are made on the calibration split, by the mean event F1 over flashes, sustained episodes and transitions.
The grids are coarse: a calibration split holds tens of events, too few to distinguish finer ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.evaluation.episodes.events import (
    ClipEvents,
    EventRows,
    clip_events,
    event_scores,
    f1_difference,
    f1_of_sums,
    f1_sums,
    true_episodes,
)
from components.evaluation.episodes.thresholds import MostProbable, Thresholds
from components.evaluation.intervals import Bootstrap
from components.inference.durations import Durations
from components.inference.episodes import Decoder, Episode, episodes_of_path
from components.inference.semi_markov import Smoother

# From 1, where posteriors are used as they are: below it no flash outweighs its two changes. The calmest first.
WEIGHTS = (1.0, 1.41, 2.0)
# The label of a stream waits for as long as the shortest flash.
LAG_S = 0.3
ENTER = (0.8, 0.7, 0.6, 0.5, 0.4)
LEAVE_SHARES = (0.25, 0.5, 0.75, 1.0)
SHORTEST_S = (0.5, 0.4, 0.3, 0.2, 0.0)

Choice = TypeVar("Choice", bound=Decoder)


class Labelled(NamedTuple):
    """A clip with step labels: its posteriors (T, K), and the truth."""

    case: Case
    posterior: NDArray[np.floating]
    truth: Sequence[Episode]


def labelled(case: Case, posterior: NDArray[np.floating], classes: Sequence[str]) -> Labelled | None:
    """The clip, where it has any step label."""
    return Labelled(case, posterior, true_episodes(case, classes)) if (case.step_labels >= 0).any() else None


def events_of(
    decoders: Sequence[Decoder], clips: Sequence[Labelled], classes: Sequence[str]
) -> Iterator[list[ClipEvents]]:
    """The events that each decoder detects in a clip, counted against the truth; clip by clip.

    Most decoders that are compared choose the same classes in most clips: the events of a path are counted once.
    """
    for case, posterior, truth in clips:
        valid, known = case.valid, dict[bytes, ClipEvents]()
        paths = [decoder.path(posterior, valid, case.rate_hz) for decoder in decoders]
        for path in paths:
            if path.tobytes() not in known:
                found = episodes_of_path(path, posterior, valid, classes, case.rate_hz)
                known[path.tobytes()] = clip_events(case, truth, found)
        yield [known[path.tobytes()] for path in paths]


def fit_smoother(clips: Sequence[Labelled], durations: Durations, classes: Sequence[str]) -> Smoother:
    """The smoother of the learned durations, with the weights of evidence offline and in a stream."""
    start = Smoother(durations=durations, lag_s=LAG_S)
    offline = _best([replace(start, weight=weight) for weight in WEIGHTS], clips, classes, start)
    streams = [replace(offline, causal_weight=weight).causal for weight in WEIGHTS]
    return _best(streams, clips, classes, offline.causal).smoother


def fit_thresholds(clips: Sequence[Labelled], classes: Sequence[str]) -> Thresholds:
    """The best thresholds and shortest duration."""
    grid = [
        Thresholds(enter=enter, leave=round(enter * share, 6), shortest_s=shortest_s)
        for enter, share, shortest_s in product(ENTER, LEAVE_SHARES, SHORTEST_S)
    ]
    return _best(grid, clips, classes, Thresholds())


def _best(candidates: Sequence[Choice], clips: Sequence[Labelled], classes: Sequence[str], default: Choice) -> Choice:
    """The candidate with the best mean event F1, among equals the first; the default without clips."""
    if not clips:
        return default
    sums = np.zeros((len(candidates), 3, 2))
    for events in events_of(candidates, clips, classes):
        of_clip = {id(own): f1_sums(own) for own in events}
        sums += [of_clip[id(own)] for own in events]
    scores = [round(f1_of_sums(of_candidate), 6) for of_candidate in sums]
    return candidates[scores.index(max(scores))]


def episode_figures(
    clips: Sequence[Labelled],
    classes: Sequence[str],
    *,
    smoother: Smoother,
    thresholds: Thresholds,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Event scores of each decoder on the same clips, and the paired gain of smoothing over thresholds in mean F1."""
    if not clips:
        return {}
    decoders: Mapping[str, Decoder] = {
        "offline": smoother,
        "causal": smoother.causal,
        "threshold": thresholds,
        "argmax": MostProbable(),
    }
    rows = {name: EventRows() for name in decoders}
    for events in events_of([*decoders.values()], clips, classes):
        for own, clip in zip(rows.values(), events, strict=True):
            own.append(clip)
    by_decoder = {name: own.sums() for name, own in rows.items()}
    figures: dict[str, Any] = {name: event_scores(events, bootstrap=bootstrap) for name, events in by_decoder.items()}
    for name in ("offline", "causal"):
        gain = f1_difference(by_decoder[name], by_decoder["threshold"], bootstrap=bootstrap)
        figures[f"{name}_minus_threshold"] = gain.to_json()
    figures["lag_s"] = smoother.lag_s
    return figures
