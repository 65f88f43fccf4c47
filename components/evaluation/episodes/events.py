"""Episodes against the truth: detected flashes and transitions, their delay, and the number of changes.

Event-based scoring as in sound event detection (Mesaros, Heittola, Virtanen: Metrics for Polyphonic Sound Event
Detection, 2016): an episode is found when one of the same emotion overlaps it well enough, each used once.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from components.catalog.cases import Case
from components.evaluation.intervals import Bootstrap, Floats, Interval, SubjectRows, Subjects, ratio
from components.inference.episodes import Episode, kind_of, runs, transitions

# A flash has three to six steps; one step off at either end must still count, a different place must not.
MIN_OVERLAP = 0.3
TRANSITION_TOLERANCE_S = 0.5
SECONDS_PER_MINUTE = 60.0
PARTS = ("true", "found", "true_matched", "found_matched")
KINDS = ("flash", "sustained", "transition")
COUNTS = ("seconds", *(f"{kind}_{part}" for kind in KINDS for part in PARTS))


@dataclass(frozen=True, kw_only=True)
class ClipEvents:
    """Counts of one clip by kind, and the onset latencies of the episodes found."""

    subject_id: str
    counts: dict[str, float]
    latencies_s: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class EventSums:
    """The events of many clips.

    Attributes:
        counts: (S, C) sums of `COUNTS` by person, in the order of their names.
        people, latencies_s: (N,) of all onsets that were found.
    """

    counts: Floats
    people: Subjects
    latencies_s: Floats

    def of_each(self, *names: str) -> Floats:
        """(S, …) some of the counts."""
        return self.counts[:, [COUNTS.index(name) for name in names]]

    @property
    def total(self) -> dict[str, float]:
        """All people together."""
        return dict(zip(COUNTS, self.counts.sum(0).tolist(), strict=True))


class EventRows:
    """Gathers the events of clips, one at a time."""

    def __init__(self) -> None:
        self._counts: dict[str, Floats] = {}
        self._people, self._latencies = SubjectRows(), array("d")

    def append(self, clip: ClipEvents) -> None:
        """Adds a clip."""
        if clip.subject_id not in self._counts:
            self._counts[clip.subject_id] = np.zeros(len(COUNTS))
        self._counts[clip.subject_id] += [clip.counts[name] for name in COUNTS]
        self._people.append(clip.subject_id, len(clip.latencies_s))
        self._latencies.extend(clip.latencies_s)

    def sums(self) -> EventSums:
        """All of them. Nothing can be added afterwards."""
        return EventSums(
            counts=np.array([self._counts[name] for name in sorted(self._counts)]).reshape(-1, len(COUNTS)),
            people=self._people.subjects(),
            latencies_s=np.array(self._latencies),
        )


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


def mean_f1(events: EventSums) -> float:
    """Mean F1 over flashes, sustained episodes and transitions; a kind that is neither true nor found is left out."""
    return f1_of_sums(_f1_sums(events).sum(0))


def f1_of_sums(sums: Floats) -> float:
    """`mean_f1` of (3, 2): matched, and true plus found, by kind."""
    return float(_mean_f1(sums))


def f1_sums(clip: ClipEvents) -> Floats:
    """(3, 2) of one clip, for `f1_of_sums`."""
    return _matched_and_all(np.array([clip.counts[name] for name in COUNTS[1:]], dtype=np.float64))


def f1_difference(first: EventSums, second: EventSums, *, bootstrap: Bootstrap) -> Interval:
    """`mean_f1(first) − mean_f1(second)` of two answers to the same clips, paired by person."""
    return bootstrap.difference(_f1_sums(first), _f1_sums(second), _mean_f1)


def _f1_sums(events: EventSums) -> Floats:
    """(S, 3, 2)."""
    return _matched_and_all(events.counts[:, 1:])


def _matched_and_all(counts: Floats) -> Floats:
    """(…, C − 1) → (…, 3, 2): matched, and true plus found, by kind; both count an event twice when it is matched."""
    table = counts.reshape(*counts.shape[:-1], len(KINDS), len(PARTS))
    return np.stack([table[..., 2:].sum(-1), table[..., :2].sum(-1)], axis=-1)


def _mean_f1(sums: Floats) -> Floats:
    matched, total = sums[..., 0], sums[..., 1]
    kinds = (total > 0).sum(-1)
    return np.asarray((matched / np.maximum(total, 1.0)).sum(-1) / np.maximum(kinds, 1))


def event_scores(events: EventSums, *, bootstrap: Bootstrap) -> dict[str, Any]:
    """Recall and precision of flashes, sustained episodes and transitions; mean F1; onset latency; flips per minute.

    Each with its interval. A figure whose denominator is 0 is left out. Latency is the median of found minus true onset
    of the episodes that were found and do not begin with the clip, in seconds: positive is late.
    """
    total = events.total
    scores: dict[str, Any] = {}

    def rate(part: str, whole: str, scale: float = 1.0) -> Interval | None:
        table = events.of_each(part, whole)
        if not table[:, 1].sum():
            return None
        return bootstrap.of_sums(table, partial(ratio, scale=scale))

    for what in KINDS:
        entry: dict[str, Any] = {"true": int(total[f"{what}_true"]), "found": int(total[f"{what}_found"])}
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
    scores["mean_f1"] = bootstrap.of_sums(_f1_sums(events), _mean_f1).to_json()
    scores["onset_latency_s"] = _latency(events, bootstrap).to_json()
    return scores


def _latency(events: EventSums, bootstrap: Bootstrap) -> Interval:
    """The median over the onsets of matched episodes; no value without any."""
    values = events.latencies_s
    if not values.size:
        return Interval(value=None, low=None, high=None)
    return bootstrap.of_items(events.people, lambda items: float(np.median(values[items])))
