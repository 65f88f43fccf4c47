"""How MLflow loads a version: `mlflow.pyfunc.load_model("models:/<model>@<alias>")`.

`MLmodel` names this module, so what runs is the installed package; the model's own folder is only read as data.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.registry.bundle import load_bundle

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
            model_input: column `path`, and `transcript` if it is known (empty or missing: unknown).
            params: not used; MLflow passes it.

        Returns:
            columns `emotion`, `confidence`, `contradiction`, `answer_json` (the whole answer).

        Raises:
            MediaError: a clip cannot be used; its path is named.
        """
        import pandas as pd

        from components.serving.clips import clip_of_file

        rows = []
        for row in model_input.to_dict("records"):
            transcript = row.get("transcript")
            spoken = transcript if isinstance(transcript, str) and transcript.strip() else None
            clip = clip_of_file(Path(str(row["path"])), self.predictor.guard, transcript=spoken)
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


def _load_pyfunc(path: str) -> ClipModel:
    """MLflow's entry point: `path` is the bundle folder. Raises BundleError when it is damaged or does not fit."""
    from components.serving.predictor import Predictor

    bundle = load_bundle(Path(path))
    bundle.check_goldens()
    return ClipModel(Predictor(bundle))
