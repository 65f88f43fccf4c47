"""A version that the code before its rearrangement registered, put back into a real registry as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from mlflow import MlflowClient

from components.tracking.client import default_store

BEFORE = Path(__file__).parent / "before"
ARTIFACTS = BEFORE / "artifacts"
BUNDLE = ARTIFACTS / "data" / "bundle"
STORED: dict[str, Any] = json.loads((BEFORE / "version.json").read_text(encoding="utf-8"))
SHA256: str = STORED["tags"]["mer.bundle_sha256"]
RATE_HZ, DURATION_S = 16000, 3


def register_as_it_was(uri: str, name: str, folder: Path) -> str:
    """Registers the stored artifacts with the stored tags and the alias `champion`; returns the version."""
    client = MlflowClient(uri)
    experiment = client.create_experiment(name, artifact_location=folder.as_uri())
    run_id = client.create_run(experiment).info.run_id
    with default_store(uri):
        logged = client.create_logged_model(experiment, name=name, source_run_id=run_id, model_type="mer")
        client.log_model_artifacts(logged.model_id, str(ARTIFACTS))
        client.finalize_logged_model(logged.model_id, "READY")
        client.create_registered_model(name)
        version = client.create_model_version(
            name,
            source=f"models:/{logged.model_id}",
            run_id=run_id,
            model_id=logged.model_id,
            tags=STORED["tags"],
            description=STORED["description"],
        ).version
    client.set_registered_model_alias(name, "champion", version)
    return str(version)


def write_sound(path: Path) -> Path:
    """The sound that `answer` in `version.json` is about: three seconds of a rising tone."""
    t_s = np.arange(DURATION_S * RATE_HZ) / RATE_HZ
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * (150 + 40 * t_s) * t_s), RATE_HZ)
    return path
