"""A tiny but real bundle: random weights, the weight-free encoders, written by the code that writes all bundles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from components.alignment.fingerprint import alignment_fingerprint
from components.contracts.config import Alignment, FaceAlignment, Model, Train, VoiceAlignment
from components.contracts.lineage import Lineage
from components.features.base import Encoded
from components.features.registry import create
from components.features.transform import Transform
from components.inference.calibration import Calibration
from components.inference.outliers import PooledRows, Reference, pool
from components.inference.scoring import Scorer
from components.inference.semi_markov import Smoother
from components.model.build import build_model
from components.model.spec import ModelSpec
from components.registry.bundle import Description, EncoderSpec, Expert, write_bundle
from components.registry.goldens import Golden
from components.training.adapted import load_bases, upper_of

CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
SPECS = {"face": "hog", "voice": "signal", "text": "hashing"}
PASSED = {"name": "ece", "value": 0.1, "bound": 0.2, "passed": True, "verdict": "passed", "words": "fine"}
# No weights needed: the whole picture is the face, and energy stands for speech.
ALIGNMENT = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"))


def tiny_bundle(
    folder: Path,
    *,
    seed: int = 0,
    modalities: tuple[str, ...] = ("face", "voice", "text"),
    specs: Mapping[str, str] = SPECS,
    experts: Mapping[str, Expert] | None = None,
    gates: Sequence[Mapping[str, Any]] = (PASSED,),
    adapt: Mapping[str, Any] | None = None,
) -> str:
    """Writes the bundle and returns its hash; a different seed gives a different model. `specs` names each encoder, and
    `adapt` those whose last layers are a part of the model, as `train.adapt` does."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    encoders = {name: create(specs[name], name, "cpu") for name in modalities}
    widths = {name: encoder.width for name, encoder in encoders.items()}
    clips = [
        {
            name: Encoded(rng.standard_normal((20, width)).astype(np.float32), np.ones(20, dtype=bool))
            for name, width in widths.items()
        }
        for _ in range(8)
    ]
    train = Train.model_validate({"adapt": adapt or {}})
    transform = Transform.fit(clips, widths, raw=train.adapt)
    applied = [transform.apply(clip, 20) for clip in clips]
    pooled = [pool(features, masks) for features, masks in applied]
    upper = upper_of(train, {name: {"spec": specs[name]} for name in widths}, widths)
    spec = ModelSpec(modalities=widths, classes=CLASSES, model=Model(width=16, heads=2, tcn_blocks=1), upper=upper)
    model = build_model(spec).eval()
    if upper:
        load_bases(model)
        for name, weight in model.named_parameters():
            if weight.requires_grad and ".lora_B." in name:  # zero before it learns
                torch.nn.init.normal_(weight, std=0.02)
    calibration = Calibration(step=1.2, clip=1.1, unimodal=dict.fromkeys(widths, 1.0))
    scorer = Scorer(model, calibration)
    return write_bundle(
        folder,
        description=Description(
            taxonomy="abaw8",
            spec=spec,
            alignment=ALIGNMENT,
            alignment_fingerprint=alignment_fingerprint(ALIGNMENT),
            encoders={
                name: EncoderSpec(spec=specs[name], fingerprint=encoder.fingerprint, width=encoder.width)
                for name, encoder in encoders.items()
            },
            calibration=calibration,
            smoother=Smoother(),
            metrics={},
            gates=gates,
            experts=experts or {},
        ),
        model=model,
        transform=transform,
        reference=Reference.fit(PooledRows.of(pooled), PooledRows.of(pooled)),
        goldens=[Golden.record(f"golden-{i}", *applied[i], scorer) for i in range(2)],
        lineage=Lineage(
            git_commit="0" * 40,
            git_dirty=False,
            dvc_lock_sha256="1" * 64,
            params_sha256="2" * 64,
            data_sha256="3" * 64,
            datasets={"tiny": "4" * 64},
            seed=seed,
        ),
    )


def break_goldens(folder: Path) -> str:
    """Makes the folder a bundle whose hashes hold but whose golden outputs do not; returns the new hash."""
    from components.registry.goldens import GOLDEN_TENSORS

    tensors = load_file(folder / GOLDEN_TENSORS)
    tensors["0.expected.clip"] = np.roll(tensors["0.expected.clip"], 1) + np.float32(0.2)
    save_file(tensors, folder / GOLDEN_TENSORS)
    return _described_anew(folder, changed=GOLDEN_TENSORS)


def name_unknown_taxonomy(folder: Path) -> str:
    """Makes the folder a bundle that passes every check, and cannot judge a clip: the classes of a pretrained
    classifier would be mapped by a taxonomy that is not here. Returns the new hash."""
    return _described_anew(folder, taxonomy="abaw9")


def _described_anew(folder: Path, changed: str | None = None, **fields: str) -> str:
    """Writes the description of a folder in which a file, or the fields themselves, were changed; the new hash."""
    from components.contracts.fingerprint import canonical_json, file_sha256
    from components.registry.bundle import DESCRIPTION

    value = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    value |= fields
    if changed is not None:
        value["files"][changed] = file_sha256(folder / changed)
    (folder / DESCRIPTION).write_text(canonical_json(value) + "\n", encoding="utf-8")
    return file_sha256(folder / DESCRIPTION)
