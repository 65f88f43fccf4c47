"""A small real bundle for tests: an untrained model of two modalities, fitted to noise. Fast, exact, from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.contracts.config import Alignment, Model
from components.contracts.lineage import Lineage
from components.features.base import Encoded
from components.features.transform import Transform
from components.inference.calibration import Calibration
from components.inference.durations import Durations
from components.inference.outliers import PooledRows, Reference, pool
from components.inference.scoring import Scorer
from components.inference.semi_markov import Smoother
from components.model.build import build_model
from components.model.spec import ModelSpec
from components.registry.bundle import Description, EncoderSpec, write_bundle
from components.registry.goldens import Golden

CLASSES = ("neutral", "anger", "happiness", "sadness")
WIDTHS = {"face": 6, "voice": 5}


def make_clip(seed: int, steps: int = 12, present: tuple[str, ...] = ("face", "voice")) -> dict[str, Encoded]:
    """Noise with every step valid, for the modalities that are present."""
    rng = np.random.default_rng(seed)
    return {
        name: Encoded(rng.normal(size=(steps, WIDTHS[name])).astype(np.float32), np.ones(steps, dtype=bool))
        for name in present
    }


SMALL = Model(width=16, heads=2, tcn_blocks=1)


def make_bundle(
    folder: Path,
    *,
    seed: int = 0,
    model_config: Model = SMALL,
    encoders: dict[str, EncoderSpec] | None = None,
    **fields: Any,
) -> str:
    """Writes a bundle and returns its hash; `fields` override those of the description."""
    torch.manual_seed(seed)
    spec = ModelSpec(modalities=WIDTHS, classes=CLASSES, model=model_config)
    model = build_model(spec).eval()
    clips = [make_clip(seed * 1000 + i) for i in range(12)]
    transform = Transform.fit(clips, WIDTHS, standardise=model_config.standardise)
    inputs = [transform.apply(clip, 12) for clip in clips]
    calibration = Calibration(step=1.3, clip=0.9, unimodal={"face": 1.1, "voice": 2.0})
    pooled = [pool(features, masks) for features, masks in inputs]
    scorer = Scorer(model, calibration)
    goldens = [Golden.record(f"tiny/{i}", *inputs[i], scorer) for i in range(2)]
    goldens.append(Golden.record("tiny/face-only", *transform.apply(make_clip(99, 7, ("face",)), 7), scorer))
    values: dict[str, Any] = {
        "taxonomy": "abaw8",
        "spec": spec,
        "alignment": Alignment(),
        "alignment_fingerprint": "a" * 64,
        "encoders": encoders
        or {name: EncoderSpec(spec="test", fingerprint=name * 3, width=width) for name, width in WIDTHS.items()},
        "calibration": calibration,
        "smoother": Smoother(durations=Durations(mood_mean_s=2.5)),
        "metrics": {"clip": {"macro_f1": {"value": 0.7, "low": 0.6, "high": 0.8}}},
        "gates": [{"name": "ece", "value": 0.1, "bound": 0.25, "passed": True, "verdict": "passed", "words": "fine"}],
    }
    return write_bundle(
        folder,
        description=Description(**{**values, **fields}),
        model=model,
        transform=transform,
        reference=Reference.fit(PooledRows.of(pooled[:8]), PooledRows.of(pooled[8:])),
        goldens=goldens,
        lineage=Lineage(
            git_commit="c" * 40,
            git_dirty=False,
            dvc_lock_sha256="d" * 64,
            params_sha256="e" * 64,
            data_sha256="f" * 64,
            datasets={"tiny": "0" * 64},
            seed=seed,
        ),
    )
