"""The folder that MLflow loads a version from.

A normal MLflow model: `MLmodel` with a signature, an input example and pinned requirements, whose loader is a module of
the *installed* package. It holds no code and no pickle.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.contracts.room import full_disk_named

# Where in the folder the bundle lies.
BUNDLE_PATH = "data/bundle"
# Columns with the number of a track.
TRACKS = ("video_track", "audio_track")
PATH_EXAMPLE, TRANSCRIPT_EXAMPLE = "clip.mp4", "what was said, if it is known"


def write_model_folder(folder: Path, bundle: Path, *, loader_module: str, requirements: Sequence[str]) -> None:
    """Writes the MLflow model directory of a bundle: clips by path in, one row of answers out.

    Args:
        folder: where to; it must not be there.
        bundle: the folder that `write_bundle` wrote.
        loader_module: what MLflow imports to load the model.
        requirements: `name==version` of every package that loading it takes.

    Raises:
        UnavailableError: the disk is full (`no-room`), as a rule that of temporary files.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    inputs = Schema(
        [
            ColSpec("string", "path"),
            ColSpec("string", "transcript", required=False),
            # Not integers: a column of which some cells are empty holds floats.
            *(ColSpec("double", name, required=False) for name in TRACKS),
        ]
    )
    outputs = Schema(
        [
            ColSpec("string", "emotion"),
            ColSpec("double", "confidence"),
            ColSpec("double", "contradiction"),
            ColSpec("string", "answer_json"),
        ]
    )
    # The room is measured before the scratch folder is removed.
    with tempfile.TemporaryDirectory() as scratch, full_disk_named(folder):
        data = Path(scratch) / Path(BUNDLE_PATH).name
        shutil.copytree(bundle, data)
        with _quiet("mlflow.pyfunc"):
            mlflow.pyfunc.save_model(
                path=str(folder),
                loader_module=loader_module,
                data_path=str(data),
                pip_requirements=list(requirements),
                signature=ModelSignature(inputs=inputs, outputs=outputs),
                input_example=pd.DataFrame({"path": [PATH_EXAMPLE], "transcript": [TRANSCRIPT_EXAMPLE]}),
            )


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Warnings only: MLflow logs every step."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
