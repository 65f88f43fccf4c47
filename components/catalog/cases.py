"""One clip in the form that training and evaluation use: transformed inputs, labels, and its identity."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.catalog.case_labels import CaseLabels, LabelsGathered
from components.catalog.examples import Example
from components.catalog.packed import PackedExamples
from components.contracts.labels import UNLABELLED
from components.contracts.records import Planted
from components.features.transform import Transform
from components.runtime.on_demand import OnDemand

# The kinds of events that are worth drawing over time, most telling first.
SHOWN = ("flash", "transition", "contradiction", "missing", "late_audio", "variable_frame_rate")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A transformed clip.

    Attributes:
        features: modality → (T, D) float32, standardised but for those of `Transform.raw`, zeros where invalid.
        masks: modality → (T,) True = valid.
        step_labels: (T,) int64 class index, `UNLABELLED` where there is none; clip_label: likewise.
        groups: optional demographics; planted: the known events of a rendered corpus.
        valence_arousal: of the whole clip, each in [-1, 1], NaN where unlabelled.
        pooled: `features` as they are for recordings of which nothing is known; None where that is what they are.
    """

    clip_id: str
    dataset: str
    subject_id: str
    features: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    step_labels: NDArray[np.int64]
    clip_label: int
    rate_hz: float
    groups: Mapping[str, str]
    planted: tuple[Planted, ...] = ()
    valence_arousal: tuple[float, float] = (math.nan, math.nan)
    pooled: Mapping[str, NDArray[np.float32]] | None = None

    @property
    def steps(self) -> int:
        """T."""
        return self.step_labels.size

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(T,) True where any modality is valid."""
        return np.logical_or.reduce([*self.masks.values()])

    @property
    def present(self) -> tuple[str, ...]:
        """The modalities with at least one valid step, in the model's order."""
        return tuple(name for name, mask in self.masks.items() if bool(mask.any()))

    @property
    def usable(self) -> bool:
        """Whether any modality has a valid step and any label can be learned from."""
        valid = self.valid
        labelled = self.clip_label != UNLABELLED or bool((self.step_labels[valid] != UNLABELLED).any())
        return bool(valid.any()) and labelled

    @property
    def bare(self) -> Case:
        """The clip without features, in arrays of its own: what can be kept of clips that stay on disk."""
        masks = {name: mask.copy() for name, mask in self.masks.items()}
        return replace(self, features={}, pooled=None, masks=masks, step_labels=self.step_labels.copy())

    def has_planted(self, kind: str) -> bool:
        """Whether an event of this kind was planted."""
        return any(planted.kind == kind for planted in self.planted)


class CasesOnDisk(OnDemand[Case]):
    """Cases that are read and made whenever they are asked for, with their labels, which are not read for that.

    Args:
        make: the place of an example → its case.
        labels: theirs, with those places.
        at_once: as `OnDemand` has it.
    """

    def __init__(self, make: Callable[[int], Case], labels: CaseLabels, *, at_once: int) -> None:
        super().__init__(make, labels.places, at_once=at_once)
        self.labels = labels


def labels_of(cases: Sequence[Case]) -> CaseLabels:
    """Of cases in memory or on disk."""
    if isinstance(cases, CasesOnDisk):
        return cases.labels
    gathered = LabelsGathered()
    for place, case in enumerate(cases):
        add_labels(gathered, place, case)
    return gathered.labels()


def add_labels(gathered: LabelsGathered, place: int, case: Case) -> None:
    """Adds those of a case at a place among the examples."""
    gathered.add(
        place,
        dataset=case.dataset,
        clip_label=case.clip_label,
        step_labels=case.step_labels,
        valence_arousal=case.valence_arousal,
    )


def fit_transform(
    examples: Sequence[Example],
    widths: Mapping[str, int],
    *,
    standardise: bool,
    normalise: str,
    raw: Iterable[str] = (),
) -> Transform:
    """The transform of the training examples; see `Transform.fit` and `train.normalise`."""
    datasets = None
    if normalise == "dataset":
        datasets = {name: (example.encoded for example in own) for name, own in by_dataset(examples).items()}
    encoded = (example.encoded for example in examples)
    return Transform.fit(encoded, widths, standardise=standardise, datasets=datasets, raw=raw)


def by_dataset(examples: Sequence[Example]) -> dict[str, Sequence[Example]]:
    """The examples of each dataset, by its name."""
    if isinstance(examples, PackedExamples):
        return {name: examples.where("dataset", [name]) for name in examples.datasets}
    names = sorted({example.dataset for example in examples})
    return {name: [example for example in examples if example.dataset == name] for name in names}


def prepare_to_learn(
    examples: Sequence[Example], transform: Transform, *, usable: bool = False, known: CaseLabels | None = None
) -> Sequence[Case]:
    """`prepare` with the statistics of each example's dataset, where the transform has them; those of all clips are in
    `Case.pooled` then."""
    if not transform.datasets:
        return prepare(examples, transform, usable=usable, known=known)
    of_dataset = {name: transform.of_dataset(name) for name in by_dataset(examples)}

    def make(example: Example) -> Case:
        case = case_of(example, transform)
        own, _ = of_dataset[example.dataset].apply(example.encoded, example.num_steps)
        return replace(case, features=own, pooled=case.features)

    return _cases(examples, make, usable=usable, known=known)


def prepare(
    examples: Sequence[Example], transform: Transform, *, usable: bool = False, known: CaseLabels | None = None
) -> Sequence[Case]:
    """Transforms examples; a clip in which no modality of the transform has a valid step is left out, and with `usable`
    one without a label too.

    Examples on disk stay there: each case is read and transformed whenever it is asked for. Which are left out takes a
    pass over them, unless `known` has the result of one: the labels of what the same call gave before.
    """
    return _cases(examples, lambda example: case_of(example, transform), usable=usable, known=known)


def case_of(example: Example, transform: Transform) -> Case:
    """One transformed example."""
    features, masks = transform.apply(example.encoded, example.num_steps)
    return Case(
        clip_id=example.clip_id,
        dataset=example.dataset,
        subject_id=example.subject_id,
        features=features,
        masks=masks,
        step_labels=example.step_labels,
        clip_label=example.clip_label,
        rate_hz=example.rate_hz,
        groups=dict(example.groups),
        planted=tuple(example.planted),
        valence_arousal=(_number(example.valence), _number(example.arousal)),
    )


def _cases(
    examples: Sequence[Example], make: Callable[[Example], Case], *, usable: bool, known: CaseLabels | None
) -> Sequence[Case]:
    def kept(case: Case) -> bool:
        return case.usable if usable else bool(case.present)

    if not isinstance(examples, OnDemand):
        return [case for case in map(make, examples) if kept(case)]
    if known is None:
        gathered = LabelsGathered()
        for place, case in enumerate(map(make, examples)):
            if kept(case):
                add_labels(gathered, place, case)
        known = gathered.labels()
    return CasesOnDisk(lambda place: make(examples[place]), known, at_once=examples.at_once)


def shown_clips(cases: Iterable[Case], count: int) -> list[int]:
    """Which clips to draw: one of each kind that was planted, then of each label, by clip id. Never chosen by score.
    Clips are gone through once."""
    by_kind: dict[str, list[tuple[str, int]]] = {kind: [] for kind in SHOWN}
    by_label: dict[int, list[tuple[str, int]]] = {}
    first: list[tuple[str, int]] = []
    for place, case in enumerate(cases):
        clip = case.clip_id, place
        for kind in SHOWN:
            if case.has_planted(kind):
                _enter(by_kind[kind], clip, len(SHOWN))  # the others may be chosen for a different kind
        if not case.planted:
            _enter(by_label.setdefault(case.clip_label, []), clip, 1)
        _enter(first, clip, count)
    chosen: list[int] = []
    for own in by_kind.values():
        chosen.extend([place for _, place in own if place not in chosen][:1])
    chosen.extend(place for _, place in sorted(clip for own in by_label.values() for clip in own))
    chosen.extend([place for _, place in first if place not in chosen])
    return chosen[:count]


def _enter(smallest: list[tuple[str, int]], clip: tuple[str, int], most: int) -> None:
    """Keeps the first clips by id."""
    if len(smallest) < most or (smallest and clip < smallest[-1]):
        insort(smallest, clip)
        del smallest[most:]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
