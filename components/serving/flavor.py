"""How MLflow loads a version: `mlflow.pyfunc.load_model("models:/<model>@<alias>")`.

`MLmodel` names this module, so what runs is the installed package; the model's own folder is only read as data.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.media.tracks import track_number
from components.registry.bundle import load_bundle
from components.tracking.packaging import TRACKS

if TYPE_CHECKING:
    import pandas as pd

    from components.serving.predictor import Predictor


class ClipModel:
    """Paths of clips in, one row per clip out."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Judges one clip per row.

        Args:
            model_input: column `path`, and, each of them empty or missing where it is not known, `transcript`,
                `video_track` and `audio_track` (which of several tracks of the file to use, counted from 1).
            params: not used; MLflow passes it.

        Returns:
            columns `emotion`, `confidence`, `contradiction`, `answer_json` (the whole answer).

        Raises:
            MediaError: a clip cannot be used; its path is named.
            DataError: a track is not a whole number, or the transcript is not text.
        """
        import pandas as pd

        from components.serving.clips import clip_of_file

        rows = []
        for row in model_input.to_dict("records"):
            transcript = row.get("transcript")
            spoken = transcript if isinstance(transcript, str) and transcript.strip() else None
            video_track, audio_track = (_track(row, name) for name in TRACKS)
            clip = clip_of_file(
                Path(str(row["path"])),
                self.predictor.guard,
                transcript=spoken,
                video_track=video_track,
                audio_track=audio_track,
            )
            answer = self.predictor.predict(clip)
            rows.append(
                {
                    "emotion": answer.emotion,
                    "confidence": answer.confidence,
                    "contradiction": float("nan") if answer.contradiction.score is None else answer.contradiction.score,
                    "answer_json": answer.to_json(),
                }
            )
        return pd.DataFrame(rows, columns=["emotion", "confidence", "contradiction", "answer_json"])


def _track(row: Mapping[Hashable, Any], name: str) -> int | None:
    """The track that a row chooses; an empty cell is None, NaN or NA."""
    import pandas as pd

    cell = row.get(name)
    return track_number(None if pd.isna(cell) else cell, where=name)


def _load_pyfunc(path: str) -> ClipModel:
    """MLflow's entry point: `path` is the bundle folder. Raises BundleError when it is damaged or does not fit."""
    from components.serving.predictor import Predictor

    bundle = load_bundle(Path(path))
    bundle.check_goldens()
    return ClipModel(Predictor(bundle))
