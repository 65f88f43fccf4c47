"""A small project: a copy of the files that make this folder a project, with a corpus that renders in seconds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", "infra", "components", "pipelines")

# Encoders without weights, no face detector, a model that trains in seconds, in the stage's own process.
TINY: dict[str, Any] = {
    "datasets": ["synthetic"],
    "synthetic": {"subjects": 5, "clips_per_subject": 3, "picture_px": 128},
    "alignment": {"rate_hz": 5.0, "face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}},
    "features": {"encoders": {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}},
    "validation": {"min_clips": 4, "min_subjects": 3, "min_clips_per_class": 1},
    "train": {"workers": 0, "epochs": 2},
    "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
    "evaluate": {"bootstrap": 20, "timelines": 1},
}


def make_project(folder: Path, params: dict[str, Any] | None = None, *, source: Path = ROOT) -> Path:
    """A project in a git repository of its own, with the code of `source` and no outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        given, target = source / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if given.is_dir():
            shutil.copytree(given, target)
        else:
            shutil.copy2(given, target)
    (folder / "params.yaml").write_text(yaml.safe_dump(TINY if params is None else params, sort_keys=False))
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "A project"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    return folder
