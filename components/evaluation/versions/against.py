"""A version against the champion: both answer the same clips of the same people, and differences are paired by person.

A gate is one function of the two contenders and one line of `GATES`; its bound is the setting of that name in the
section `promotion`. The verdict is as in `gates.py`: an interval that reaches across its bound is not enough evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.contracts.config import Promotion
from components.evaluation.gates import Gate, Reading, gate_of
from components.evaluation.intervals import Bootstrap, Interval
from components.evaluation.measure import Sample, ece_of_sums, paired
from components.evaluation.slices import MIN_ITEMS
from components.evaluation.subsets import clip_sample, only_posteriors, step_sample
from components.inference.scoring import Scored, Scorer, keep
from components.model import scores

# Fewer people say nothing about a difference between people.
MIN_PEOPLE = 2
DATASET = "dataset"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the two versions on the test clips.

    Attributes:
        cases: the clips under its own transform, here without features; both contenders have the same ones in the same
            order.
        answers: present modalities → what it answers to each clip; None for a clip that has none of its modalities.
        latency_s: median seconds of its model for a clip; weights_bytes: the size of its weights.
    """

    cases: Sequence[Case]
    answers: Mapping[tuple[str, ...], Sequence[Scored | None]]
    latency_s: float
    weights_bytes: int

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that it uses and that some clip has."""
        return max(self.answers, key=len)


@dataclass(frozen=True, kw_only=True)
class Duel:
    """The version that challenges, the champion, and how differences are measured."""

    challenger: Contender
    champion: Contender
    level: str
    bootstrap: Bootstrap
    bins: int

    def samples(self, missing: str | None = None) -> tuple[Sample, Sample] | None:
        """The labelled answers of the challenger and of the champion to the clips that both answer, as if a modality
        were missing; None where there are none."""
        both = [_without(side, missing) for side in (self.challenger, self.champion)]
        clips = [index for index, pair in enumerate(zip(*both, strict=True)) if None not in pair]
        cases = [[side.cases[index] for index in clips] for side in (self.challenger, self.champion)]
        # A step counts where both have a modality: they may use different ones.
        common = [np.logical_and(*pair) for pair in zip(*([case.valid for case in row] for row in cases), strict=True)]
        made = [
            _sample(row, [answers[index] for index in clips], common, self.level)
            for row, answers in zip(cases, both, strict=True)
        ]
        return None if made[0] is None or made[1] is None else (made[0], made[1])

    def groups(self) -> Sequence[Mapping[str, str]]:
        """The groups of the person of each labelled clip that both answer, and its dataset."""
        both = [_without(side, None) for side in (self.challenger, self.champion)]
        return [
            {**case.groups, DATASET: case.dataset}
            for index, case in enumerate(self.challenger.cases)
            if case.clip_label >= 0 and both[0][index] is not None and both[1][index] is not None
        ]


def contender(scorer: Scorer, cases: Sequence[Case], *, latency_s: float, weights_bytes: int) -> Contender:
    """Scores the clips with every modality and with each one missing; each clip is read once for that."""
    kept = [case.bare for case in cases]
    names = tuple(name for name in kept[0].masks if any(name in case.present for case in kept)) if kept else ()
    shown = [names, *(tuple(name for name in names if name != missing) for missing in names)]
    answers: dict[tuple[str, ...], list[Scored | None]] = {pattern: [] for pattern in shown if pattern}
    for case in cases:
        for pattern, own in answers.items():
            own.append(_answer(scorer, case, pattern))
    return Contender(cases=kept, answers=answers or {(): []}, latency_s=latency_s, weights_bytes=weights_bytes)


def loss(duel: Duel, bound: float) -> Reading:
    """The paired loss of macro-F1."""
    pair = duel.samples()
    if pair is None or _people(pair[0]) < MIN_PEOPLE:
        return Reading(value=None, words="unknown: too few labelled people whom neither version was trained on")
    fall = paired(pair[1], pair[0], bootstrap=duel.bootstrap)
    lies = fall.sided("below", "above")
    words = f"{duel.level} macro-F1 is {lies} the champion's on {_people(pair[0])} people, wanted ≤ {bound:g} below"
    return Reading(value=fall.value, interval=fall, words=words)


def slice_loss(duel: Duel, bound: float) -> Reading:
    """The paired loss of accuracy in the group of people that loses most."""
    pair = duel.samples()
    if pair is None or duel.level != "clip":
        return Reading(value=None, words="unknown: groups are compared where clips are labelled")
    groups, falls = duel.groups(), {}
    for key, value in sorted({entry for group in groups for entry in group.items() if entry[1]}):
        chosen = np.array([group.get(key) == value for group in groups])
        parts = [sample.among(chosen) for sample in pair]
        if chosen.sum() >= MIN_ITEMS and _people(parts[0]) >= MIN_PEOPLE:
            falls[f"{key} {value}"] = paired(parts[1], parts[0], bootstrap=duel.bootstrap, statistic=scores.accuracy)
    if not falls:
        return Reading(value=None, words=f"unknown: no group has {MIN_ITEMS} clips of {MIN_PEOPLE} people")
    worst = max(falls, key=lambda name: falls[name].value or 0.0)
    words = f"accuracy for {worst} is {falls[worst].sided('below', 'above')} the champion's, wanted ≤ {bound:g} below"
    return Reading(value=falls[worst].value, interval=falls[worst], words=words)


def ece_rise(duel: Duel, bound: float) -> Reading:
    """The paired rise of the expected calibration error."""
    pair = duel.samples()
    if pair is None:
        return Reading(value=None, words="unknown: no labelled clip")
    sums = [sample.bins_by_subject(duel.bins) for sample in pair]
    rise = duel.bootstrap.difference(sums[0], sums[1], ece_of_sums)
    words = (
        f"{duel.level} confidence is off by {rise.sided('more', 'less')} than the champion's, wanted ≤ {bound:g} more"
    )
    return Reading(value=rise.value, interval=rise, words=words)


def missing_modality_loss(duel: Duel, bound: float) -> Reading:
    """The paired loss of macro-F1 without a modality, for the worst one."""
    names = sorted({*duel.challenger.modalities, *duel.champion.modalities})
    falls: dict[str, Interval] = {}
    for name in names:
        pair = duel.samples(missing=name) if len(names) > 1 else None
        if pair is not None:
            falls[name] = paired(pair[1], pair[0], bootstrap=duel.bootstrap)
    if not falls:
        return Reading(value=0.0, words="one modality only: nothing can be missing")
    worst = max(falls, key=lambda name: falls[name].value or 0.0)
    lies = falls[worst].sided("below", "above")
    words = f"without {worst}, macro-F1 is {lies} the champion's without it, wanted ≤ {bound:g} below"
    return Reading(value=falls[worst].value, interval=falls[worst], words=words)


def latency_ratio(duel: Duel, bound: float) -> Reading:
    """The model's time for a clip against the champion's."""
    own, other = duel.challenger.latency_s, duel.champion.latency_s
    words = f"its model takes {own * 1e3:.1f} ms per clip, the champion's {other * 1e3:.1f} ms: {own / other:.2f} times"
    return Reading(value=own / other, words=f"{words}, wanted ≤ {bound:g}")


def size_ratio(duel: Duel, bound: float) -> Reading:
    """The size of the weights against the champion's."""
    own, other = duel.challenger.weights_bytes, duel.champion.weights_bytes
    words = f"its weights are {own / 1e6:.2f} MB, the champion's {other / 1e6:.2f} MB: {own / other:.2f} times"
    return Reading(value=own / other, words=f"{words}, wanted ≤ {bound:g}")


# Setting of the section `promotion` → the function that measures what it bounds, in the order of the table.
GATES: dict[str, Callable[[Duel, float], Reading]] = {
    "max_loss": loss,
    "max_slice_loss": slice_loss,
    "max_ece_rise": ece_rise,
    "max_missing_modality_loss": missing_modality_loss,
    "max_latency_ratio": latency_ratio,
    "max_size_ratio": size_ratio,
}


def judge(config: Promotion, duel: Duel) -> list[Gate]:
    """All gates, each against its bound in `config`."""
    return [gate_of(setting, float(getattr(config, setting)), GATES[setting], duel) for setting in GATES]


def undecided(config: Promotion, why: str) -> list[Gate]:
    """All gates where the two versions cannot be compared."""

    def unknown(why: str, bound: float) -> Reading:
        return Reading(value=None, words=f"unknown: {why}")

    return [gate_of(setting, float(getattr(config, setting)), unknown, why) for setting in GATES]


def _without(side: Contender, missing: str | None) -> Sequence[Scored | None]:
    pattern = tuple(name for name in side.modalities if name != missing)
    return side.answers.get(pattern) or [None] * len(side.cases)


def _answer(scorer: Scorer, case: Case, pattern: tuple[str, ...]) -> Scored | None:
    present = [name for name in case.present if name in pattern]
    return only_posteriors(scorer.score(*keep(case.features, case.masks, present)), "step") if present else None


def _sample(
    cases: Sequence[Case], answers: Sequence[Scored | None], common: Sequence[NDArray[np.bool_]], level: str
) -> Sample | None:
    scored = [answer for answer in answers if answer is not None]
    if level == "clip":
        return clip_sample(cases, [answer.clip_posterior for answer in scored])
    shown = [replace(case, masks={"both": valid}) for case, valid in zip(cases, common, strict=True)]
    return step_sample(shown, [answer.step_posterior for answer in scored], ["both"]) if shown else None


def _people(sample: Sample) -> int:
    return len(sample.people.names)
