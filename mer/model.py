"""`load` and `predict`: a version of the model in this process."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.serving.answers.schemas import Answer
from pipelines.project import find_root, in_project

if TYPE_CHECKING:
    from components.serving.predictor import Predictor

StrPath = str | os.PathLike[str]
# Versions that `predict` keeps loaded.
KEPT = 2


class Model:
    """A version of the model, ready to judge clips; made by `load`.

    Media are opened in a child process under limits, which ends with this object.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def __repr__(self) -> str:
        return f"<mer.Model {self.name} {self.version}: {', '.join(self.modalities)}>"

    @property
    def name(self) -> str:
        """Of the registered model."""
        return self._predictor.model.name

    @property
    def version(self) -> str:
        """In the registry, or `unregistered`."""
        return self._predictor.model.version

    @property
    def classes(self) -> tuple[str, ...]:
        """The emotions that it distinguishes."""
        return self._predictor.bundle.spec.classes

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it was trained on."""
        return self._predictor.modalities

    def predict(
        self,
        path: StrPath,
        *,
        transcript: str | None = None,
        video_track: int | None = None,
        audio_track: int | None = None,
        why: bool = False,
    ) -> Answer:
        """Judges one clip.

        Args:
            path: a video, a sound file or a photograph.
            transcript: the spoken words. By default they are recognised where the version does so.
            video_track, audio_track: which of several tracks of the file to use, counted from 1.
            why: whether episodes and transitions have what they rest on (`.why`).

        Raises:
            MerError: the file cannot be used; it says what is wrong, where, and what helps.
        """
        from components.runtime.threads import one_thread
        from components.serving.clips import clip_of_file

        with one_thread():  # as the command and the service: sums of floats depend on the number
            clip = clip_of_file(
                Path(path),
                self._predictor.guard,
                transcript=transcript,
                video_track=video_track,
                audio_track=audio_track,
            )
            return self._predictor.predict(clip, why=why)


def load(
    version: str | os.PathLike[str] | None = None,
    *,
    project: StrPath | None = None,
    adaptation: StrPath | None = None,
) -> Model:
    """A version of the model.

    Args:
        version: its number, an alias, `starter`, or a bundle's folder. By default the promoted version, while none is
            that of the last `mer run`, and before one, or without a project, the starter that comes with mer.
        project: its folder; by default the one around the current folder.
        adaptation: the file that `mer adapt` made of recordings like those to judge.

    Raises:
        MerError: there is no such version or project, this installation cannot compute it, or the adaptation does not
            fit it.
    """
    return _load(*_chosen(version, project), _absolute(adaptation))


def _load(version: str | None, root: Path | None, adaptation: Path | None) -> Model:
    from components.tracking.client import impatience
    from pipelines.commands.predict.command import predictor_of

    with impatience():  # a person waits
        return Model(predictor_of(version, root, adaptation))


def _absolute(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path).resolve()


def _chosen(version: str | os.PathLike[str] | None, project: StrPath | None) -> tuple[str | None, Path | None]:
    """The version and the project to look it up in, the same after a change of folder; no project for a bundle's folder
    and for the starter, and none where the caller names and stands in none."""
    from pipelines.commands.predict.command import STARTER, is_bundle

    named = None if version is None else os.fspath(version)
    if named is not None and is_bundle(named):
        return str(Path(named).resolve()), None
    if named == STARTER or (project is None and not in_project()):
        return named, None
    return named, find_root(None if project is None else Path(project))


def predict(
    path: StrPath,
    *,
    transcript: str | None = None,
    version: str | os.PathLike[str] | None = None,
    project: StrPath | None = None,
    adaptation: StrPath | None = None,
    video_track: int | None = None,
    audio_track: int | None = None,
    why: bool = False,
) -> Answer:
    """Judges one clip; see `load` and `Model.predict`.

    The version is loaded once per process: a version that is promoted later is used by the next process, or by `load`.
    """
    model = _loaded(*_chosen(version, project), _absolute(adaptation))
    return model.predict(path, transcript=transcript, video_track=video_track, audio_track=audio_track, why=why)


_loaded = lru_cache(maxsize=KEPT)(_load)
