"""A trained model's answers to held-out clips: calibrated on one split, given on both, for every pattern of modalities.

Clips are scored in batches, because an ablation scores each of them very often; `scoring.Scorer` takes one at a time.

Legend: N items, T steps, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from components.catalog.cases import Case
from components.catalog.examples import UNLABELLED
from components.evaluation.answers import ALL, SPLITS, Answers
from components.evaluation.calibration import fit_temperature, fit_ways, mix, softmax, with_product
from components.evaluation.scoring import keep
from components.evaluation.subsets import patterns
from components.model.base import EmotionModel
from components.training.items import collate
from components.training.job import one_thread

Floats = NDArray[np.float32]

CLIPS_AT_ONCE = 16


def answer(
    model: EmotionModel,
    splits: Mapping[str, Sequence[Case]],
    *,
    prior: Mapping[str, Floats],
    levels: Sequence[str],
    modalities: Sequence[str],
) -> dict[tuple[str, str], Answers]:
    """The answers of a trained model to both held-out splits; temperatures come from "calibration" alone.

    The first of `levels` is answered under every pattern of present modalities too, on the test split.
    """
    views = {split: _views(model, splits[split], modalities) for split in SPLITS}
    whole = "+".join(modalities)
    alone = _unimodal_temperatures(*views["calibration"][whole])
    views = _weighed(views, whole, alone)
    by_count = {level: _by_count(views["calibration"], level) for level in levels}
    found = {}
    for split in SPLITS:
        cases, raw = views[split][whole]
        for level in levels:
            posterior = {ALL: _posterior(raw, cases, level, by_count[level], prior[level])}
            if split == "test" and level == levels[0]:
                for pattern, (kept, again) in views[split].items():
                    posterior[pattern] = _posterior(again, kept, level, by_count[level], None)
            unimodal = _unimodal(raw, cases, alone) if level == "clip" else {}
            found[split, level] = _answers(cases, level, posterior, unimodal)
    return found


@dataclass(frozen=True)
class _Raw:
    """Scores before softmax, a row a clip: `clip` (N, K), `steps` N × (T, K), `unimodal` modality → (N, K), `ways`
    way of reading a clip → (N, K)."""

    clip: Floats
    steps: list[Floats]
    unimodal: dict[str, Floats]
    ways: dict[str, Floats]


_Views = dict[str, tuple[list[Case], _Raw]]


def _views(model: EmotionModel, cases: Sequence[Case], modalities: Sequence[str]) -> _Views:
    """Pattern → the clips as if only these modalities had been recorded, and their scores."""
    found = {}
    for pattern in patterns(modalities):
        kept = [_keep(case, pattern) for case in cases]
        found["+".join(pattern)] = (kept, _logits(model, kept))
    return found


def _weighed(views: Mapping[str, _Views], whole: str, temperatures: Mapping[str, float]) -> dict[str, _Views]:
    """The views with the ways of reading a clip mixed as the calibration split asks for; see `fitting`."""
    cases, raw = views["calibration"][whole]
    weights = fit_ways(_ways(cases, raw, temperatures), np.array([case.clip_label for case in cases], dtype=np.int64))
    return {
        split: {
            pattern: (kept, replace(raw, clip=mix(_ways(kept, raw, temperatures), weights)) if weights else raw)
            for pattern, (kept, raw) in own.items()
        }
        for split, own in views.items()
    }


def _ways(cases: Sequence[Case], raw: _Raw, temperatures: Mapping[str, float]) -> dict[str, NDArray[np.floating]]:
    """Way of reading a clip → (N, K)."""
    # Even scores take a modality out of the product.
    present = {
        name: np.where(np.array([name in case.present for case in cases], dtype=bool)[:, None], scores, 0.0)
        for name, scores in raw.unimodal.items()
    }
    return with_product(raw.ways, present, temperatures)


def _logits(model: EmotionModel, cases: Sequence[Case]) -> _Raw:
    """Clips of similar length go together, so little is padded."""
    classes = len(model.spec.classes)
    clip = np.zeros((len(cases), classes), dtype=np.float32)
    steps: list[Floats] = [np.empty((0, classes), dtype=np.float32)] * len(cases)
    unimodal: dict[str, Floats] = {}
    ways: dict[str, Floats] = {}
    order = sorted(range(len(cases)), key=lambda index: cases[index].steps)
    with one_thread(), torch.inference_mode():
        for first in range(0, len(order), CLIPS_AT_ONCE):
            some = order[first : first + CLIPS_AT_ONCE]
            batch = collate([cases[index] for index in some])
            out = model(batch.features, batch.masks)
            clip[some] = out.clip_logits.numpy()
            for row, index in enumerate(some):
                steps[index] = out.step_logits[row, : cases[index].steps].numpy().copy()
            for name, values in out.unimodal_clip_logits.items():
                unimodal.setdefault(name, np.zeros_like(clip))[some] = values.numpy()
            for name, values in out.clip_ways.items():
                ways.setdefault(name, np.zeros_like(clip))[some] = values.numpy()
    return _Raw(clip, steps, unimodal, ways)


def _by_count(views: _Views, level: str) -> dict[int, float]:
    """Number of present modalities → temperature, as `fitting.fit_calibration` has it for the same clips."""
    rows: dict[int, list[Floats]] = {}
    truth: dict[int, list[NDArray[np.int64]]] = {}
    seen: set[tuple[int, tuple[str, ...]]] = set()
    for cases, raw in views.values():
        scores = _level(raw, level)
        for index, case in enumerate(cases):
            # A clip without sound is the same clip for "face" and for "face + voice".
            if case.present and (index, case.present) not in seen:
                seen.add((index, case.present))
                chosen = _labelled(case, level) & (case.valid if level == "step" else True)
                rows.setdefault(len(case.present), []).append(scores[index][chosen])
                truth.setdefault(len(case.present), []).append(labels_of(case, level)[chosen])
    return {count: fit_temperature(np.concatenate(rows[count]), np.concatenate(truth[count])) for count in sorted(rows)}


def _unimodal_temperatures(cases: Sequence[Case], raw: _Raw) -> dict[str, float]:
    labels = np.array([case.clip_label for case in cases], dtype=np.int64)
    found = {}
    for name, values in sorted(raw.unimodal.items()):
        mine = np.array([name in case.present for case in cases], dtype=bool)
        found[name] = fit_temperature(values[mine], labels[mine])
    return found


def _posterior(
    raw: _Raw, cases: Sequence[Case], level: str, temperature: Mapping[int, float], prior: Floats | None
) -> Floats:
    """(N, K) of the labelled items; `prior`, or NaN without one, where nothing is seen."""
    blank = np.full(raw.clip.shape[1], np.nan, dtype=np.float32) if prior is None else prior
    parts = [np.empty((0, raw.clip.shape[1]), dtype=np.float32)]
    for case, scores in zip(cases, _level(raw, level), strict=True):
        chosen = _labelled(case, level)
        own = softmax(scores[chosen], temperature.get(len(case.present), 1.0)).astype(np.float32)
        there = case.valid[chosen] if level == "step" else np.array([bool(case.present)])
        parts.append(np.where(there[:, None], own, blank))
    return np.concatenate(parts)


def _level(raw: _Raw, level: str) -> Sequence[Floats]:
    """A clip each: (1, K) or (T, K)."""
    return list(raw.clip[:, None]) if level == "clip" else raw.steps


def _labelled(case: Case, level: str) -> NDArray[np.bool_]:
    return np.asarray(labels_of(case, level) != UNLABELLED)


def _unimodal(raw: _Raw, cases: Sequence[Case], temperatures: Mapping[str, float]) -> dict[str, Floats]:
    """Modality → (N, K) of the labelled clips; a modality has no opinion of its own where it is absent."""
    labelled = [index for index, case in enumerate(cases) if case.clip_label != UNLABELLED]
    found = {}
    for name, values in sorted(raw.unimodal.items()):
        seen = np.array([name in cases[index].present for index in labelled], dtype=bool)
        own = softmax(values[labelled], temperatures[name]).astype(np.float32)
        found[name] = np.where(seen[:, None], own, np.float32(np.nan))
    return found


def _answers(
    cases: Sequence[Case], level: str, posterior: Mapping[str, Floats], unimodal: Mapping[str, Floats]
) -> Answers:
    labels = [labels_of(case, level) for case in cases]
    counts = [int((some != UNLABELLED).sum()) for some in labels]
    truth = np.concatenate([*labels, np.empty(0, dtype=np.int64)])
    return Answers(
        clips=tuple(case.clip_id for case in cases),
        clip=np.repeat(np.arange(len(cases)), counts).astype(np.int64),
        truth=truth[truth != UNLABELLED].astype(np.int64),
        posterior=posterior,
        unimodal=unimodal,
    )


def labels_of(case: Case, level: str) -> NDArray[np.int64]:
    """(1,) the label of a clip, or (T,) those of its steps; `UNLABELLED` where there is none."""
    return np.array([case.clip_label], dtype=np.int64) if level == "clip" else case.step_labels


def _keep(case: Case, modalities: Sequence[str]) -> Case:
    features, masks = keep(case.features, case.masks, modalities)
    return replace(case, features=features, masks=masks)
