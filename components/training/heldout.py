"""How well a model does on held-out clips while it trains: shown, never chosen by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.model.losses import UNLABELLED
from components.training.items import Item, collate

CLIPS_AT_ONCE = 16


@torch.no_grad()
def held_out_scores(
    model: nn.Module, weights: Mapping[str, Tensor], items: Sequence[Item], *, device: torch.device
) -> dict[str, float]:
    """Macro-F1 and accuracy of clips, macro-F1 of steps, with `weights` in the place of the model's own.

    What has no labelled item is left out. The model's random state and mode are as before afterwards.
    """
    was_training = model.training
    model.eval()
    clip_pairs: list[tuple[int, int]] = []
    step_pairs: list[NDArray[np.int64]] = []
    for first in range(0, len(items), CLIPS_AT_ONCE):
        some = items[first : first + CLIPS_AT_ONCE]
        batch = collate(some).to(device)
        output = torch.func.functional_call(model, dict(weights), (batch.features, batch.masks))
        any_BT = torch.stack(list(batch.masks.values())).any(0)
        steps = (batch.step_labels != UNLABELLED) & any_BT
        predicted = output.step_logits.argmax(-1)
        step_pairs.append(torch.stack([batch.step_labels[steps], predicted[steps]], dim=-1).cpu().numpy())
        for label, guess, seen in zip(batch.clip_labels, output.clip_logits.argmax(-1), any_BT.any(-1), strict=True):
            if label != UNLABELLED and seen:
                clip_pairs.append((int(label), int(guess)))
    model.train(was_training)
    scores: dict[str, float] = {}
    if clip_pairs:
        clips = np.array(clip_pairs)
        scores["held_out_clip_macro_f1"] = macro_f1(clips[:, 0], clips[:, 1])
        scores["held_out_clip_accuracy"] = float((clips[:, 0] == clips[:, 1]).mean())
    all_steps = np.concatenate(step_pairs) if step_pairs else np.empty((0, 2), dtype=np.int64)
    if len(all_steps):
        scores["held_out_step_macro_f1"] = macro_f1(all_steps[:, 0], all_steps[:, 1])
    return scores


def macro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean over the classes that occur in `truth` of 2 TP / (2 TP + FP + FN)."""
    scores = []
    for label in np.unique(truth):
        hits = np.sum((truth == label) & (predicted == label))
        scores.append(2 * hits / (np.sum(truth == label) + np.sum(predicted == label)))
    return float(np.mean(scores))
