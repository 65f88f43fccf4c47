"""A trained model's calibration, and its answers to held-out clips, for every pattern of modalities.

Clips are scored in batches, because an ablation scores each of them very often; everything else is as for one clip.

Legend: N items, T steps, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from components.ablation.answers import ALL, SPLITS, Answers
from components.catalog.cases import Case
from components.contracts.labels import UNLABELLED
from components.evaluation.fitting import NO_SHIFT, fit_posteriors
from components.evaluation.subsets import patterns
from components.inference.calibration import Calibration, Shift
from components.inference.scoring import Logits, Posteriors, Scorer, keep
from components.model.base import EmotionModel
from components.runtime.threads import one_thread
from components.training.samples.items import collate

Floats = NDArray[np.float32]

CLIPS_AT_ONCE = 16


def calibrate(model: EmotionModel, cases: Sequence[Case], shift: Shift = NO_SHIFT) -> Calibration:
    """The calibration of a trained model, fitted on the clips of the calibration split; `shift` of its objective."""
    return fit_posteriors(model, cases, lambda clips: read_batches(model, clips), shift)[0]


def answer(
    model: EmotionModel,
    calibration: Calibration,
    splits: Mapping[str, Sequence[Case]],
    *,
    prior: Mapping[str, Floats],
    levels: Sequence[str],
    modalities: Sequence[str],
) -> dict[tuple[str, str], Answers]:
    """The answers of a calibrated model to the test split, and to the calibration split if `splits` has it.

    The first of `levels` is answered under every pattern of present modalities too, on the test split.
    """
    scorer = Scorer(model, calibration)
    answers = {}
    for split in SPLITS:
        if split not in splits:
            continue
        cases = splits[split]
        whole = _posteriors(scorer, cases, read_batches(model, cases))
        for level in levels:
            posterior = {ALL: _rows(cases, whole, level, prior[level])}
            unimodal = _unimodal(cases, whole, modalities) if level == "clip" else {}
            answers[split, level] = _answers(cases, level, posterior, unimodal)
    by_pattern = {}
    for pattern in patterns(modalities):
        kept = [_keep(case, pattern) for case in splits["test"]]
        answered = _posteriors(scorer, kept, read_batches(model, kept))
        by_pattern["+".join(pattern)] = _rows(kept, answered, levels[0], None)
    first = answers["test", levels[0]]
    answers["test", levels[0]] = replace(first, posterior={**first.posterior, **by_pattern})
    return answers


def read_batches(model: EmotionModel, cases: Sequence[Case]) -> list[Logits]:
    """The scores of clips; those of similar length share a batch, so there is little padding."""
    order = sorted(range(len(cases)), key=lambda index: cases[index].steps)
    logits: dict[int, Logits] = {}
    with one_thread(), torch.inference_mode():
        for first in range(0, len(order), CLIPS_AT_ONCE):
            indices = order[first : first + CLIPS_AT_ONCE]
            batch = collate([cases[index] for index in indices])
            output = model(batch.features, batch.masks)
            for row, index in enumerate(indices):
                logits[index] = Logits.of(output, row, cases[index].steps)
    return [logits[index] for index in range(len(cases))]


def _posteriors(scorer: Scorer, cases: Sequence[Case], logits: Sequence[Logits]) -> list[Posteriors]:
    return [scorer.posteriors(item, case.masks) for case, item in zip(cases, logits, strict=True)]


def _rows(cases: Sequence[Case], answered: Sequence[Posteriors], level: str, prior: Floats | None) -> Floats:
    """(N, K) of the labelled items; `prior`, or NaN without one, where no modality is valid."""
    parts = []
    for case, posteriors in zip(cases, answered, strict=True):
        chosen = labels_of(case, level) != UNLABELLED
        own = (posteriors.clip[None] if level == "clip" else posteriors.step)[chosen]
        observed = case.valid[chosen] if level == "step" else np.array([bool(case.present)])
        blank = np.full(own.shape[-1], np.nan, dtype=np.float32) if prior is None else prior
        parts.append(np.where(observed[:, None], own, blank))
    return np.concatenate(parts) if parts else np.empty((0, 0 if prior is None else prior.size), dtype=np.float32)


def _unimodal(cases: Sequence[Case], answered: Sequence[Posteriors], modalities: Sequence[str]) -> dict[str, Floats]:
    """Modality → (N, K) of the labelled clips; NaN where the modality is absent."""
    labelled = [item for case, item in zip(cases, answered, strict=True) if case.clip_label != UNLABELLED]
    unimodal = {}
    for name in sorted({name for item in answered for name in item.unimodal} & set(modalities)):
        blank = np.full_like(answered[0].clip, np.nan)
        rows = [item.unimodal.get(name, blank) for item in labelled]
        unimodal[name] = np.stack(rows) if rows else blank[None, :][:0]
    return unimodal


def _answers(
    cases: Sequence[Case], level: str, posterior: Mapping[str, Floats], unimodal: Mapping[str, Floats]
) -> Answers:
    labels = [labels_of(case, level) for case in cases]
    counts = [int((of_clip != UNLABELLED).sum()) for of_clip in labels]
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
