"""`preset: paper` trained by the line's own learner, held against the published training in plain torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.catalog.cases import Case
from components.contracts.config import Params, Runtime, parse_params
from components.contracts.errors import ModelError
from components.model.build import build_model
from components.model.files import load_model, save_model
from components.model.published.paper import PaperModel
from components.model.published.paper_clips import PaperClipModel
from components.model.spec import ModelSpec
from components.training.heldout import held_out_scores
from components.training.job import Job, fit_here
from components.training.learner import Share, learning_rate
from components.training.loop import TrainingTask, new_learner
from components.training.samples.items import collate
from components.training.samples.prompts import class_texts, embedding_width
from tests.model.toys import WIDTHS, Toy

CLASSES = ("neutral", "anger", "sadness", "fear")
TOY = Toy(clips=24, steps=(8, 11), noise=0.7, missing=0.0, bits=2)


def paper_task(**train: object) -> TrainingTask:
    params: Params = parse_params({"model": {"preset": "paper"}, "train": train}, ["synthetic"])
    spec = ModelSpec(
        modalities={"face": WIDTHS["face"], "voice": WIDTHS["voice"]},
        classes=CLASSES,
        model=params.model,
        embedding=embedding_width(params.train, params.model),
    )
    return TrainingTask(spec=spec, train=params.train, seed=3)


def seen(items: list[Case]) -> list[Case]:
    """Face and voice alone: all that tells the four classes apart."""
    return [
        replace(
            item,
            features={name: item.features[name] for name in ("face", "voice")},
            masks={name: item.masks[name] for name in ("face", "voice")},
        )
        for item in items
    ]


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def published_loss(model: PaperModel, items: list[Case], weight_K: Tensor, text_KW: Tensor) -> Tensor:
    """Class-weighted cross-entropy + 0.1 · symmetric InfoNCE at CLIP's temperature, one window after the other."""
    outputs = [
        model.outputs(*(torch.from_numpy(item.features[name]).unsqueeze(0) for name in ("face", "voice")))
        for item in items
    ]
    labels = torch.tensor([item.clip_label for item in items])
    logits, video = torch.cat([output.logits for output in outputs]), torch.cat([output.video for output in outputs])
    score = 100 * video @ text_KW[labels].t()
    pairs = torch.arange(len(items))
    contrastive = (functional.cross_entropy(score, pairs) + functional.cross_entropy(score.t(), pairs)) / 2
    return functional.cross_entropy(logits, labels, weight=weight_K) + 0.1 * contrastive


def test_two_updates_are_the_published_ones() -> None:
    task = paper_task(learning_rate=1e-3)
    items = [item for index, item in enumerate(seen(TOY.items())) if index % 8]
    learner = new_learner(task, items)
    assert isinstance(learner.model, PaperClipModel)
    without_dropout(learner.model)
    twin = PaperModel(len(CLASSES), face_width=WIDTHS["face"], voice_width=WIDTHS["voice"], embedding=384)
    twin.load_state_dict(learner.model.published.state_dict())
    without_dropout(twin)
    optimiser = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=1e-2)
    counts = np.bincount([item.clip_label for item in items], minlength=len(CLASSES))
    assert len(set(counts)) > 1
    assert counts.min() > 0
    weight = torch.tensor(counts.sum() / (len(CLASSES) * (counts + 1e-5)), dtype=torch.float32)
    text = class_texts(task.train, task.spec)
    assert text is not None
    for step in range(2):
        batch = items[5 * step : 5 * step + 5]
        loss = published_loss(twin, batch, weight, text)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimiser.step()
        told = learner.step(collate(batch), step=step, samples=5 * step + 5, share=Share())
        assert told["loss"] == pytest.approx(float(loss.detach()), rel=1e-4)
        if step == 0:
            wanted = torch.cat([value.grad.flatten() for value in twin.parameters()])
            assert float(wanted.norm()) == pytest.approx(1.0, rel=1e-3)
            assert float((learner.gradient - wanted).norm()) < 1e-3
    own = learner.averaged()
    for name, value in twin.named_parameters():
        # Adam blows rounding noise up where a gradient is next to nothing, so single weights may be an update apart.
        assert float((own[f"published.{name}"] - value.detach()).abs().mean()) < 1e-2 * task.train.learning_rate, name


def test_the_rate_is_torchs_cosine_and_changes_once_an_epoch() -> None:
    train, per_epoch = paper_task().train, 7
    optimiser = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=30, eta_min=1e-6)
    for epoch in range(30):
        rates = {learning_rate(train, epoch * per_epoch + step, 30 * per_epoch) for step in range(per_epoch)}
        assert len(rates) == 1
        assert rates.pop() == pytest.approx(schedule.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        schedule.step()


def test_all_parameters_are_decayed() -> None:
    learner = new_learner(paper_task(contrastive_loss=0.0), seen(TOY.items()))
    assert {group["weight_decay"] for group in learner.optimiser.param_groups} == {1e-2}
    assert sum(len(group["params"]) for group in learner.optimiser.param_groups) == len(learner.parameters)


def test_it_learns_from_windows_and_is_loaded_as_it_was(tmp_path: Path) -> None:
    task = paper_task(epochs=12, learning_rate=3e-4, batch_clips=12)
    task = replace(task, spec=replace(task.spec, model=task.spec.model.model_copy(update={"window_s": 0.6})))
    splits = {"train": seen(TOY.items()), "calibration": seen(TOY.items("calibration"))}
    job = Job(task=task, items=splits.__getitem__, inputs_sha256="toy")
    windows = job.training()
    assert {item.steps for item in windows} == {6}
    assert len(windows) > len(splits["train"])
    trained = fit_here(job, tmp_path, lambda epoch: None, Runtime())
    # The face tells one bit and the voice the other: half of the clips is what one of them alone could get.
    assert trained.history[-1]["held_out_clip_accuracy"] > 0.6
    save_model(tmp_path, task.spec, trained.weights)
    model = load_model(tmp_path, classes=CLASSES)
    assert isinstance(model, PaperClipModel)
    scores = held_out_scores(
        model, model, splits["calibration"], classes=len(CLASSES), device=torch.device("cpu"), share=Share()
    )
    assert scores["held_out_clip_accuracy"] == trained.history[-1]["held_out_clip_accuracy"]


def test_a_stored_model_of_another_label_map_or_width_is_refused(tmp_path: Path) -> None:
    spec = paper_task().spec
    save_model(tmp_path, spec, build_model(spec).state_dict())
    with pytest.raises(ModelError, match="a different label map"):
        load_model(tmp_path, classes=("neutral", "anger"))
    wider = replace(spec, modalities={"face": 512, "voice": WIDTHS["voice"]})
    save_model(tmp_path, wider, build_model(spec).state_dict())
    with pytest.raises(ModelError, match=r"weights do not fit the model.*"):
        load_model(tmp_path)
    model = build_model(spec)
    with pytest.raises(ModelError, match=r"modality face: .*a different width; seen 12; allowed: 7"):
        model({"face": torch.zeros(1, 4, 7)}, {"face": torch.ones(1, 4, dtype=torch.bool)})
