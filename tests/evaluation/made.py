"""A tiny task with transitions, flashes, contradictions and missing modalities, and a model trained on it in seconds.

The face tells pairs of emotions apart, the voice all four but faintly: both together do best, and a face of the other
pair contradicts the voice. Every subject shifts its features, so that the splits, which share nobody, differ.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from components.catalog.cases import Case
from components.contracts.config import Model
from components.contracts.records import Planted
from components.model.build import EmotionModel, build_model
from components.model.spec import ModelSpec
from components.training.samples.items import collate

CLASSES = ("neutral", "anger", "happiness", "sadness")
WIDTHS = {"face": 6, "voice": 5}
RATE_HZ = 10.0
SHOWS = {"face": (0, 0, 1, 1), "voice": (0, 1, 2, 3)}
LOUD = {"face": 1.2, "voice": 0.7}


def make_case(name: str, subject: str, labels: np.ndarray, *, seed: int, shown: dict | None = None, **fields) -> Case:
    """A clip whose modalities follow `labels` (T,), or `shown[modality]` instead; noise and a shift by subject."""
    rng = np.random.default_rng(seed)
    shift = np.random.default_rng(abs(hash_of(subject)))
    features, masks = {}, {}
    for modality, width in WIDTHS.items():
        axis = np.random.default_rng(len(modality)).normal(size=(4, width))
        follows = np.asarray((shown or {}).get(modality, labels))
        codes = np.asarray(SHOWS[modality])[follows]
        noise = 0.6 * rng.normal(size=(labels.size, width)) + 0.25 * shift.normal(size=width)
        features[modality] = (axis[codes] * LOUD[modality] + noise).astype(np.float32)
        masks[modality] = np.ones(labels.size, dtype=bool)
    values = {
        "clip_id": f"tiny/{name}",
        "dataset": "tiny",
        "subject_id": subject,
        "features": features,
        "masks": masks,
        "step_labels": labels.astype(np.int64),
        "clip_label": int(np.bincount(labels).argmax()),
        "rate_hz": RATE_HZ,
        "groups": {"gender": "female" if int(subject[-1]) % 2 else "male"},
    }
    return Case(**{**values, **fields})


def hash_of(text: str) -> int:
    return sum(ord(letter) * (place + 7) for place, letter in enumerate(text))


def without(case: Case, modality: str) -> Case:
    """The clip without one modality."""
    from dataclasses import replace

    return replace(
        case,
        features={n: np.zeros_like(v) if n == modality else v for n, v in case.features.items()},
        masks={n: np.zeros_like(v) if n == modality else v for n, v in case.masks.items()},
    )


@cache
def make_split(split: str, subjects: int, clips: int = 12) -> tuple[Case, ...]:
    """Clips of people who are in no other split."""
    cases = []
    for person in range(subjects):
        subject = f"tiny/{split}{person}"
        for clip in range(clips):
            seed = hash_of(f"{subject}/{clip}")
            rng = np.random.default_rng(seed)
            mood = int(rng.integers(4))
            other = (mood + 1 + int(rng.integers(3))) % 4
            labels = np.full(30, mood)
            name, planted, shown = f"{split}{person}-{clip:02d}", (), None
            if clip % 6 == 1:
                labels[17:] = other
                planted = (Planted(kind="transition", start_s=1.7, emotion=CLASSES[other]),)
            elif clip % 6 == 3:
                labels[12:17] = other
                planted = (Planted(kind="flash", start_s=1.2, end_s=1.7, emotion=CLASSES[other]),)
            elif clip % 6 == 5:
                shown = {"face": np.full(30, (mood + 2) % 4)}
                planted = (Planted(kind="contradiction", modality="face", emotion=CLASSES[(mood + 2) % 4]),)
            case = make_case(name, subject, labels, seed=seed, shown=shown, planted=planted)
            if clip % 12 == 10:
                case = without(case, "voice")
            cases.append(case)
    return tuple(cases)


@cache
def trained_model() -> EmotionModel:
    """A model trained on the training split; the same every time."""
    torch.manual_seed(0)
    spec = ModelSpec(modalities=WIDTHS, classes=CLASSES, model=Model(width=24, heads=2, tcn_blocks=2, dropout=0.1))
    model = build_model(spec)
    train = make_split("train", 8)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    rng = np.random.default_rng(0)
    loss_of = torch.nn.CrossEntropyLoss()
    for _ in range(60):
        some = [train[i] for i in rng.choice(len(train), 24, replace=False)]
        masked = rng.random()
        batch = collate(some)
        masks = dict(batch.masks)
        if masked < 0.4:
            masks["face" if masked < 0.2 else "voice"] = torch.zeros_like(masks["face"])
        out = model(batch.features, masks)
        loss = loss_of(out.clip_logits, batch.clip_labels)
        loss = loss + loss_of(out.step_logits.flatten(0, 1), batch.step_labels.flatten())
        for name, logits in out.unimodal_clip_logits.items():
            there = batch.masks[name].any(1)
            loss = loss + 0.5 * loss_of(logits[there], batch.clip_labels[there])
            steps = out.unimodal_step_logits[name][batch.masks[name]]
            loss = loss + 0.5 * loss_of(steps, batch.step_labels[batch.masks[name]])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
