"""RAVDESS-like folders of real containers: a drawn face and a tone, one second each, written with PyAV."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from components.contracts.config import Params, parse_params
from components.contracts.layout import Layout
from components.datasets.registry import names
from tests.alignment.media import draw_face, tone, write_clip

ROOT = Path(__file__).resolve().parents[2]
FPS = 30_000 / 1001  # as the corpus has it
PICTURE_PX = 160
CODECS = {".mp4": "aac", ".wav": "pcm_s16le", ".flac": "flac"}
LIGHT = {"face": "hog", "voice": "signal", "text": "hashing"}


def record(folder: Path, name: str, *, face: bool = True, seconds: float = 1.0, **options: Any) -> Path:
    """Writes the recording that a RAVDESS name promises: 01 picture and sound, 02 picture only, 03 sound only.

    Picture and sound follow from the name without its modality, so the versions of one performance agree and two
    performances differ.
    """
    path = folder / f"Actor_{Path(name).stem[-2:]}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(int(part) * 7**place for place, part in enumerate(path.stem.split("-")[1:])) % 97
    pictures = [draw_face(PICTURE_PX, PICTURE_PX, side=0.6 if face else 0.0, smile=seed / 97)] * round(FPS * seconds)
    sound = tone(seconds, hz=120 + 5 * seed)
    modality = name[:2]
    return write_clip(
        path,
        fps=FPS,
        pictures=pictures if modality in ("01", "02") else (),
        sound=sound if modality in ("01", "03") else None,
        audio_codec=CODECS[path.suffix],
        **options,
    )


def project(root: Path, **params: Any) -> Layout:
    """A project with this configuration on RAVDESS in `corpus/`; the code is the installed one."""
    given = {
        "datasets": ["ravdess"],
        "ravdess": {"root": "corpus"},
        "features": {"encoders": LIGHT},
        **params,
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    (root / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    return Layout(root)


def params_of(layout: Layout) -> Params:
    """The project's configuration."""
    return parse_params(yaml.safe_load(layout.params.read_text()), names())


def mer(layout: Layout, *arguments: str, code: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command `mer` as a process of its own, in the project, with the code of that folder."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    return subprocess.run(command, cwd=layout.root, env=environment, capture_output=True, text=True, check=False)


def mer_here(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `mer` in this process, in the project: exit code and output without a new interpreter."""
    from pipelines.cli import call

    output, errors = io.StringIO(), io.StringIO()
    with contextlib.chdir(layout.root), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = call(arguments)
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())
