"""A small project: a copy of the files that make this folder a project, with a corpus that renders in seconds."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PARAMS = "params.yaml"
SETTINGS = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", "infra")
COPIED = (*SETTINGS, "components", "pipelines")

# Encoders without weights, no face detector, a model that trains in seconds, in the stage's own process.
TINY: dict[str, Any] = {
    "datasets": ["synthetic"],
    "synthetic": {"subjects": 5, "clips_per_subject": 2, "picture_px": 128, "processes": 1},
    "alignment": {"rate_hz": 5.0, "face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}},
    "features": {"encoders": {"face": "hog", "voice": "signal", "text": "hashing", "physio": "signal"}},
    "validation": {"min_clips": 4, "min_subjects": 3, "min_clips_per_class": 1},
    "train": {"epochs": 2},
    "runtime": {"workers": 0},
    "model": {"width": 16, "heads": 2, "tcn_blocks": 1},
    "evaluate": {"bootstrap": 20, "timelines": 1},
}


def make_project(folder: Path, params: dict[str, Any] | None = None, *, source: Path = ROOT, code: bool = True) -> Path:
    """A project in a git repository of its own, with the code of `source` and no outputs.

    Without `code` it has the settings, `dvc.yaml` and `infra` alone, which is a small part of the work.
    """
    if source == ROOT:
        shutil.copytree(_template(COPIED if code else SETTINGS).name, folder, dirs_exist_ok=True)
    else:
        _copy(source, folder, COPIED)
        _git(folder, "init", "--quiet", "--template=")
    if params is not None or source != ROOT:
        (folder / PARAMS).write_text(_text(TINY if params is None else params))
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", "--allow-empty", "--message", "A project")
    return folder


@cache
def _template(names: tuple[str, ...]) -> tempfile.TemporaryDirectory[str]:
    """The tiny project, committed into one pack: a copy of it takes half the time of a project made anew."""
    made = tempfile.TemporaryDirectory(prefix="mer-project-")
    folder = Path(made.name)
    _copy(ROOT, folder, names)
    (folder / PARAMS).write_text(_text(TINY))
    _git(folder, "init", "--quiet", "--template=")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "A project")
    _git(folder, "gc", "--quiet")
    return made


def _copy(source: Path, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        given, target = source / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if given.is_dir():
            shutil.copytree(given, target, ignore=shutil.ignore_patterns("*.pyc.*"))  # half written by other processes
        else:
            shutil.copy2(given, target)


def _text(params: dict[str, Any]) -> str:
    return yaml.safe_dump(params, sort_keys=False)


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def in_thread(work: Callable[[], Any]) -> Any:
    """The result of `work`, in a thread of its own: KFP looks through the whole stack at each setting of a task, and
    through all modules at each frame, which takes a quarter of a minute below pytest."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()
