"""Episodes against the truth: detected flashes and transitions, their delay, and the number of changes.

Event-based scoring as in sound event detection (Mesaros, Heittola, Virtanen: Metrics for Polyphonic Sound Event
Detection, 2016): an episode is found when one of the same emotion overlaps it well enough, each used once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from components.catalog.cases import Case
from components.evaluation.intervals import Bootstrap, Floats, Interval, Subjects, ratio
from components.inference.episodes import Episode, kind_of, runs, transitions

# A flash has three to six steps; one step off at either end must still count, a different place must not.
MIN_OVERLAP = 0.3
TRANSITION_TOLERANCE_S = 0.5
SECONDS_PER_MINUTE = 60.0
PARTS = ("true", "found", "true_matched", "found_matched")


@dataclass(frozen=True, kw_only=True)
class ClipEvents:
    """Counts of one clip by kind, and the onset latencies of the episodes found."""

    subject_id: str
    counts: dict[str, float]
    latencies_s: tuple[float, ...]


def true_episodes(case: Case, classes: Sequence[str]) -> list[Episode]:
    """The truth of a clip as episodes: runs of step labels; unlabelled steps inside a run do not break it."""
    labels = case.step_labels
    labelled = np.nonzero(labels >= 0)[0]
    episodes: list[Episode] = []
    for index, first, last in runs(labels[labelled]):
        start, stop = int(labelled[first]), int(labelled[last - 1]) + 1
        episodes.append(
            Episode(
                onset_s=start / case.rate_hz,
                offset_s=stop / case.rate_hz,
                emotion=classes[index],
                intensity=1.0,
                kind=kind_of(start, stop, int(labelled[-1]) + 1, case.rate_hz) if start > labelled[0] else "sustained",
            )
        )
    return episodes


def overlap(first: Episode, second: Episode) -> float:
    """Intersection over union of two spans, 0 to 1."""
    shared = min(first.offset_s, second.offset_s) - max(first.onset_s, second.onset_s)
    union = max(first.offset_s, second.offset_s) - min(first.onset_s, second.onset_s)
    return max(0.0, shared) / union if union > 0 else 0.0


def match(truth: Sequence[Episode], found: Sequence[Episode]) -> list[tuple[int, int]]:
    """Pairs (true, found) of one emotion that overlap by at least `MIN_OVERLAP`, best pairs first, each used once."""
    candidates = sorted(
        (
            (-overlap(a, b), i, j)
            for i, a in enumerate(truth)
            for j, b in enumerate(found)
            if a.emotion == b.emotion and overlap(a, b) >= MIN_OVERLAP
        ),
    )
    pairs: list[tuple[int, int]] = []
    for _, i, j in candidates:
        if all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return pairs


def clip_events(case: Case, truth: Sequence[Episode], found: Sequence[Episode]) -> ClipEvents:
    """Counts one clip's episodes and transitions."""
    pairs = match(truth, found)
    counts: dict[str, float] = {"seconds": case.step_labels.size / case.rate_hz}
    for kind in ("flash", "sustained"):
        counts[f"{kind}_true"] = sum(episode.kind == kind for episode in truth)
        counts[f"{kind}_found"] = sum(episode.kind == kind for episode in found)
        counts[f"{kind}_true_matched"] = sum(truth[i].kind == kind for i, _ in pairs)
        counts[f"{kind}_found_matched"] = sum(found[j].kind == kind for _, j in pairs)
    true_changes, found_changes = transitions(truth), transitions(found)
    used: set[int] = set()
    for change in true_changes:
        near = [
            (abs(other.at_s - change.at_s), j)
            for j, other in enumerate(found_changes)
            if j not in used
            and (other.before, other.after) == (change.before, change.after)
            and abs(other.at_s - change.at_s) <= TRANSITION_TOLERANCE_S
        ]
        if near:
            used.add(min(near)[1])
    counts.update(
        transition_true=len(true_changes),
        transition_found=len(found_changes),
        transition_true_matched=len(used),
        transition_found_matched=len(used),
    )
    start = truth[0].onset_s if truth else 0.0
    late = tuple(found[j].onset_s - truth[i].onset_s for i, j in pairs if truth[i].onset_s > start)
    return ClipEvents(subject_id=case.subject_id, counts=counts, latencies_s=late)


def mean_f1(clips: Sequence[ClipEvents]) -> float:
    """Mean F1 over flashes, sustained episodes and transitions; a kind that is neither true nor found is left out."""
    return float(_f1_of_sums(_f1_sums(clips).sum(0)))


def f1_difference(first: Sequence[ClipEvents], second: Sequence[ClipEvents], *, bootstrap: Bootstrap) -> Interval:
    """`mean_f1(first) − mean_f1(second)` of two answers to the same clips, paired by person."""
    people = Subjects.of([clip.subject_id for clip in first])
    return bootstrap.difference(people.sums(_f1_sums(first)), people.sums(_f1_sums(second)), _f1_of_sums)


def _f1_sums(clips: Sequence[ClipEvents]) -> Floats:
    """(N, 3, 2): matched, and true plus found, by kind; both count an event twice when it is matched."""
    rows = [
        [[clip.counts[f"{what}_{part}"] for part in PARTS] for what in ("flash", "sustained", "transition")]
        for clip in clips
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(clips), 3, len(PARTS))
    return np.stack([table[..., 2:].sum(-1), table[..., :2].sum(-1)], axis=-1)


def _f1_of_sums(sums: Floats) -> Floats:
    matched, total = sums[..., 0], sums[..., 1]
    kinds = (total > 0).sum(-1)
    return np.asarray((matched / np.maximum(total, 1.0)).sum(-1) / np.maximum(kinds, 1))


def event_scores(clips: Sequence[ClipEvents], *, bootstrap: Bootstrap) -> dict[str, Any]:
    """Recall and precision of flashes, sustained episodes and transitions; mean F1; onset latency; flips per minute.

    Each with its interval. A figure whose denominator is 0 is left out. Latency is the median of found minus true onset
    of the episodes that were found and do not begin with the clip, in seconds: positive is late.
    """
    people = Subjects.of([clip.subject_id for clip in clips])
    scores: dict[str, Any] = {}

    def rate(part: str, whole: str, scale: float = 1.0) -> Interval | None:
        table = people.sums(np.array([[clip.counts[part], clip.counts[whole]] for clip in clips], dtype=np.float64))
        if not table[:, 1].sum():
            return None
        return bootstrap.of_sums(table, partial(ratio, scale=scale))

    for what in ("flash", "sustained", "transition"):
        entry: dict[str, Any] = {"true": int(sum(clip.counts[f"{what}_true"] for clip in clips))}
        entry["found"] = int(sum(clip.counts[f"{what}_found"] for clip in clips))
        recall = rate(f"{what}_true_matched", f"{what}_true")
        precision = rate(f"{what}_found_matched", f"{what}_found")
        if recall is not None:
            entry["recall"] = recall.to_json()
        if precision is not None:
            entry["precision"] = precision.to_json()
        scores[what] = entry
    for name, what in (("flips_per_minute", "transition_found"), ("true_flips_per_minute", "transition_true")):
        flips = rate(what, "seconds", SECONDS_PER_MINUTE)
        scores[name] = None if flips is None else flips.to_json()
    scores["mean_f1"] = bootstrap.of_sums(people.sums(_f1_sums(clips)), _f1_of_sums).to_json()
    scores["onset_latency_s"] = _latency(clips, bootstrap).to_json()
    return scores


def _latency(clips: Sequence[ClipEvents], bootstrap: Bootstrap) -> Interval:
    """The median over the onsets of matched episodes; no value without any."""
    people = [clip.subject_id for clip in clips for _ in clip.latencies_s]
    values = np.array([value for clip in clips for value in clip.latencies_s])
    if not values.size:
        return Interval(value=None, low=None, high=None)
    return bootstrap.of_items(Subjects.of(people), lambda items: float(np.median(values[items])))
