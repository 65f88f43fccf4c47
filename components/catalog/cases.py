"""One clip in the form that training and evaluation use: transformed inputs, labels, and its identity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.catalog.examples import Example
from components.contracts.labels import UNLABELLED
from components.contracts.records import Planted
from components.features.transform import Transform

# The kinds of events that are worth drawing over time, most telling first.
SHOWN = ("flash", "transition", "contradiction", "missing", "late_audio", "variable_frame_rate")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A transformed clip.

    Attributes:
        features: modality → (T, D) float32, standardised, zeros where invalid.
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

    def has_planted(self, kind: str) -> bool:
        """Whether an event of this kind was planted."""
        return any(planted.kind == kind for planted in self.planted)


def fit_transform(
    examples: Sequence[Example], widths: Mapping[str, int], *, standardise: bool, normalise: str
) -> Transform:
    """The transform of the training examples; see `Transform.fit` and `train.normalise`."""
    datasets = None
    if normalise == "dataset":
        names = sorted({example.dataset for example in examples})
        datasets = {name: [example.encoded for example in examples if example.dataset == name] for name in names}
    return Transform.fit((example.encoded for example in examples), widths, standardise=standardise, datasets=datasets)


def prepare_to_learn(examples: Iterable[Example], transform: Transform) -> list[Case]:
    """`prepare` with the statistics of each example's dataset, where the transform has them; those of all clips are in
    `Case.pooled` then."""
    examples = list(examples)
    cases = prepare(examples, transform)
    if not transform.datasets:
        return cases
    encoded = {example.clip_id: example.encoded for example in examples}
    of_dataset = {name: transform.of_dataset(name) for name in {case.dataset for case in cases}}
    return [
        replace(
            case,
            features=of_dataset[case.dataset].apply(encoded[case.clip_id], case.steps)[0],
            pooled=case.features,
        )
        for case in cases
    ]


def prepare(examples: Iterable[Example], transform: Transform) -> list[Case]:
    """Transforms examples; a clip in which no modality of the transform has a valid step is left out."""
    cases = []
    for example in examples:
        features, masks = transform.apply(example.encoded, example.num_steps)
        case = Case(
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
        if case.present:
            cases.append(case)
    return cases


def shown_clips(cases: Sequence[Case], count: int) -> list[int]:
    """Which clips to draw: one of each kind that was planted, then of each label, by clip id. Never chosen by score."""
    order = sorted(range(len(cases)), key=lambda index: cases[index].clip_id)
    chosen: list[int] = []
    for kind in SHOWN:
        chosen.extend([i for i in order if cases[i].has_planted(kind) and i not in chosen][:1])
    labels: set[int] = set()
    for index in order:
        if index not in chosen and not cases[index].planted and cases[index].clip_label not in labels:
            labels.add(cases[index].clip_label)
            chosen.append(index)
    chosen.extend(index for index in order if index not in chosen)
    return chosen[:count]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
