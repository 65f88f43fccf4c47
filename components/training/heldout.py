"""Scores of a model on held-out clips during training: shown, never used to choose a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.catalog.cases import Case
from components.contracts.labels import UNLABELLED
from components.model.agreement import SUMS, concordance, moment_sums
from components.model.scores import accuracy, confusion, macro_f1
from components.training.learner import Predict, Share
from components.training.samples.items import collate

CLIPS_AT_ONCE = 16


@torch.no_grad()
def held_out_scores(
    model: nn.Module,
    predict: Predict,
    items: Sequence[Case],
    *,
    classes: int,
    device: torch.device,
    share: Share,
) -> dict[str, float]:
    """Macro-F1 and accuracy of clips, macro-F1 of steps, concordance of valence and arousal, as `predict` does: the
    model, which is put in the mode for it and back, with some weights.

    Each worker scores its share of the clips; the counts and sums are added up, so all get the same scores. All call
    `predict` equally often, some without clips. Scores without a labelled item (or two rated ones) are left out.
    """
    was_training = model.training
    model.eval()
    # Counts are exact in float64, whatever the order of summation.
    confusion_2KK = torch.zeros(2, classes, classes, dtype=torch.float64)
    affect_2S = torch.zeros(2, SUMS, dtype=torch.float64)
    mine = items[share.rank :: share.world]
    for first in range(0, len(items[:: share.world]), CLIPS_AT_ONCE):  # the first worker has the most
        if first >= len(mine):
            predict(None, None)
            continue
        batch = collate(list(mine[first : first + CLIPS_AT_ONCE])).to(device)  # clips on disk are read once
        output = predict(batch.features, batch.masks)
        assert output is not None  # as there are clips
        any_BT = torch.stack(list(batch.masks.values())).any(0)
        clip_labels = batch.clip_labels.masked_fill(~any_BT.any(-1), UNLABELLED)
        step_labels = batch.step_labels.masked_fill(~any_BT, UNLABELLED)
        levels = (clip_labels, output.clip_logits), (step_labels, output.step_logits)
        for level, (truth, logits) in enumerate(levels):
            confusion_2KK[level] += torch.from_numpy(confusion(_flat(truth), _flat(logits.argmax(-1)), classes))
        if output.valence_arousal is not None:
            rated = batch.valence_arousal.masked_fill(~any_BT.any(-1, keepdim=True), torch.nan)
            for row in range(2):
                affect_2S[row] += moment_sums(rated[:, row], output.valence_arousal[:, row]).cpu()
    model.train(was_training)
    counts = torch.cat([confusion_2KK.flatten(), affect_2S.flatten()]).to(device)
    share.sum_over_workers(counts)
    confusion_2KK = counts.cpu()[: confusion_2KK.numel()].view_as(confusion_2KK)
    affect_2S = counts.cpu()[confusion_2KK.numel() :].view_as(affect_2S)
    clips_KK, steps_KK = confusion_2KK.numpy()
    scores: dict[str, float] = {}
    if clips_KK.sum():
        scores["held_out_clip_macro_f1"] = float(macro_f1(clips_KK))
        scores["held_out_clip_accuracy"] = float(accuracy(clips_KK))
    if steps_KK.sum():
        scores["held_out_step_macro_f1"] = float(macro_f1(steps_KK))
    for name, sums in zip(("valence", "arousal"), affect_2S, strict=True):
        if sums[0] >= 2:
            scores[f"held_out_{name}_ccc"] = float(concordance(sums))
    return scores


def _flat(labels: Tensor) -> NDArray[np.int64]:
    """(…,) → (N,) on the CPU."""
    return labels.flatten().cpu().numpy()
