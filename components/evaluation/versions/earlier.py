"""A version beside an earlier one, on the same test clips: what it is worth over what there was before it.

Both answer with the classes that both have learned, each from the modalities that it reads; differences are paired by
person. Legend: T steps, K classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.catalog.cases import Case, prepare
from components.catalog.examples import Example
from components.contracts.labels import UNLABELLED
from components.evaluation.evaluate import Evaluation
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, SampleRows, Statistic, paired
from components.evaluation.subsets import add_clip, add_steps
from components.inference.calibration import Calibration
from components.inference.scoring import Scored, Scorer
from components.model import scores
from components.model.carried import shared_classes
from components.model.spec import ModelSpec
from components.runtime.on_demand import OnDemand
from components.training.earlier import Earlier, Encoders, encoders_in_words

STATISTICS: Mapping[str, Statistic] = {"macro_f1": scores.macro_f1, "accuracy": scores.accuracy}
MIN_CLASSES = 2


def compare(
    earlier: Earlier,
    evaluation: Evaluation,
    examples: Sequence[Example],
    *,
    spec: ModelSpec,
    encoders: Encoders,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """The comparison as a JSON value; `why_not` in place of figures where there is none.

    It costs one pass of the earlier model over the test clips.

    Args:
        earlier: the version to compare with.
        evaluation: of the version itself.
        examples: the test clips, before any transform.
        spec: of the version's model.
        encoders: of the catalog.
        bootstrap: for intervals over people.
    """
    about = {
        "name": earlier.name,
        "bundle_sha256": earlier.bundle_sha256,
        "learned_from": dict(sorted(earlier.corpora.items())),
        "test_people_of_its_corpora": people_of(earlier.corpora, evaluation.cases),
    }
    classes, modalities = shared(spec, earlier.spec), earlier.shared(encoders)
    reason = _why_not(earlier, evaluation, classes, modalities, encoders)
    own = earlier_sample = None
    if reason is None:
        answers = _answers(earlier, examples, modalities)
        own, earlier_sample = _samples(evaluation, answers, spec, earlier.spec, classes)
    if own is None or earlier_sample is None:
        return {**about, "why_not": reason or "no test clip has a label of a class and a modality that both know"}
    return {
        **about,
        "level": evaluation.level,
        "classes": list(classes),
        "modalities": [name for name in modalities if name in spec.names],
        "items": own.size,
        "subjects": len(own.people.names),
        "earlier": _figures(earlier_sample, bootstrap),
        "own": _figures(own, bootstrap),
        "gain": {
            name: paired(own, earlier_sample, bootstrap=bootstrap, statistic=statistic).to_json()
            for name, statistic in STATISTICS.items()
        },
    }


def shared(spec: ModelSpec, earlier: ModelSpec) -> tuple[str, ...]:
    """The classes that both models have learned, by name, in the order of the first."""
    return tuple(name for name in shared_classes(spec, earlier) if name in spec.present)


def people_of(corpora: Iterable[str], cases: Iterable[Case]) -> dict[str, int]:
    """Dataset among `corpora` → how many people of it are in these clips: a version may have learned from them."""
    people: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        people[case.dataset].add(case.subject_id)
    return {name: len(people[name]) for name in sorted(set(corpora) & people.keys())}


def _why_not(
    earlier: Earlier, evaluation: Evaluation, classes: Sequence[str], modalities: Sequence[str], encoders: Encoders
) -> str | None:
    """One sentence, or None where both can answer."""
    rates = {case.rate_hz for case in evaluation.cases}
    if rates != {earlier.spec.rate_hz}:
        return f"its grid has {earlier.spec.rate_hz:g} steps per second, that of these clips {min(rates):g}"
    if len(classes) < MIN_CLASSES:
        both = ", ".join(classes) or "none"
        return (
            f"fewer than two classes are in both (in both: {both}; in the earlier: {', '.join(earlier.spec.present)})"
        )
    if not set(modalities) & set(evaluation.modalities):
        there, here = earlier.description["encoders"], {name: encoders[name] for name in evaluation.modalities}
        return (
            "no modality of the test clips is read by an encoder that it was trained with "
            f"(here {encoders_in_words(here)}; there {encoders_in_words(there)})"
        )
    return None


def _answers(earlier: Earlier, examples: Sequence[Example], modalities: Sequence[str]) -> Iterator[tuple[Case, Scored]]:
    """The clips under the earlier version's transform, and its answer from the modalities it can read."""
    scorer = Scorer(earlier.model(), Calibration.from_json(earlier.description["calibration"]))

    def readable(place: int) -> Example:
        example = examples[place]
        return replace(example, encoded={name: own for name, own in example.encoded.items() if name in modalities})

    for case in prepare(OnDemand(readable, np.arange(len(examples))), earlier.transform):
        yield case.bare, scorer.score(case.features, case.masks)


def _samples(
    evaluation: Evaluation,
    answers: Iterable[tuple[Case, Scored]],
    spec: ModelSpec,
    earlier: ModelSpec,
    classes: Sequence[str],
) -> tuple[Sample | None, Sample | None]:
    """The same labelled items answered by the version and by the earlier one, over the classes of both."""
    own_columns = [spec.classes.index(name) for name in classes]
    earlier_columns = [earlier.classes.index(name) for name in classes]
    place = np.full(len(spec.classes) + 1, UNLABELLED, dtype=np.int64)  # its last entry is that of UNLABELLED
    place[own_columns] = np.arange(len(classes))
    own, before = SampleRows(), SampleRows()
    for case, scored, other, answer in _both(evaluation, answers):
        relabelled = _relabelled(case, place, other.valid)
        for rows, posterior in (
            (own, _of(scored, own_columns, evaluation.level)),
            (before, _of(answer, earlier_columns, evaluation.level)),
        ):
            if evaluation.level == "clip":
                add_clip(rows, relabelled, posterior)
            else:
                add_steps(rows, relabelled, posterior, spec.names)
    return own.sample(), before.sample()


def _both(
    evaluation: Evaluation, answers: Iterable[tuple[Case, Scored]]
) -> Iterator[tuple[Case, Scored, Case, Scored]]:
    """The clips that both answer; both have them in the order of their ids."""
    others = iter(answers)
    other = next(others, None)
    for case, scored in zip(evaluation.cases, evaluation.scored, strict=True):
        while other is not None and other[0].clip_id < case.clip_id:
            other = next(others, None)
        if other is not None and other[0].clip_id == case.clip_id:
            yield case, scored, *other


def _relabelled(case: Case, place: NDArray[np.int64], readable_T: NDArray[np.bool_]) -> Case:
    """The clip with the indices of the shared classes as labels, at steps that the earlier version can read too."""
    known = np.maximum(case.step_labels, -1)
    return replace(
        case,
        clip_label=int(place[max(case.clip_label, -1)]),
        step_labels=np.where(readable_T, place[known], UNLABELLED),
    )


def _of(scored: Scored, columns: Sequence[int], level: str) -> NDArray[np.floating]:
    """The posterior over some classes: (K,) of a clip or (T, K) of its steps."""
    posterior = scored.clip_posterior if level == "clip" else scored.step_posterior
    chosen = posterior[..., list(columns)]
    return chosen / np.maximum(chosen.sum(-1, keepdims=True), np.finfo(np.float32).tiny)


def _figures(sample: Sample, bootstrap: Bootstrap) -> dict[str, Any]:
    by_person = sample.confusion_by_subject()
    return {name: bootstrap.of_sums(by_person, statistic).to_json() for name, statistic in STATISTICS.items()}
