"""An earlier version on disk, as the stage `inputs` leaves it, from a drawn model of the toys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from components.contracts.atomic import write_json
from components.contracts.bundle_files import DESCRIPTION
from components.contracts.layout import EARLIER
from components.features.transform import Standardisation, Transform
from components.inference.calibration import Calibration
from components.model.build import build_model
from components.model.files import save_model
from components.model.spec import ModelSpec


def write_earlier(folder: Path, spec: ModelSpec, *, fingerprint: str = "0", **description: Any) -> None:
    """Files of a version whose encoders all have this fingerprint, and whose statistics are mean 1 and spread 3."""
    torch.manual_seed(11)
    save_model(folder, spec, build_model(spec).state_dict())
    (folder / "model.json").unlink()
    Transform(
        modalities={
            name: Standardisation(mean=np.full(width, 1.0), std=np.full(width, 3.0), steps=9)
            for name, width in sorted(spec.modalities.items())
        }
    ).save(folder)
    encoders = {
        name: {"spec": "toy", "fingerprint": fingerprint, "width": width} for name, width in spec.modalities.items()
    }
    value = {
        "model": spec.to_json(),
        "classes": list(spec.classes),
        "encoders": encoders,
        "calibration": Calibration().to_json(),
        "corpora": {"before": "recorded"},
        **description,
    }
    write_json(folder / DESCRIPTION, value)
    write_json(folder / EARLIER, {"name": "starter", "bundle_sha256": "ab" * 32})
