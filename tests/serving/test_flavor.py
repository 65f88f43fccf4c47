from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from components.contracts.errors import BundleError, DataError
from components.registry.register import register
from components.serving.flavor import _load_pyfunc
from tests.alignment.media import tone, write_tracks
from tests.serving.bundles import break_goldens, tiny_bundle
from tests.serving.media import video

pytestmark = pytest.mark.integration


def test_mlflow_loads_the_champion_and_gives_the_predictors_answer(
    tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = tiny_bundle(tmp_path / "bundle")
    client = MlflowClient(mlflow_uri)
    experiment = client.create_experiment("flavor", artifact_location=str(tmp_path / "artifacts"))
    register(
        tmp_path / "bundle",
        name="flavor-toy",
        bundle_sha256=sha256,
        tags={},
        leads=True,
        card="# card\n",
        run_id=client.create_run(experiment).info.run_id,
        alias="champion",
        tracking_uri=mlflow_uri,
    )
    clip = video(tmp_path / "clip.mp4")
    before, path = mlflow.get_tracking_uri(), list(sys.path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(mlflow_uri)
    try:
        model = mlflow.pyfunc.load_model("models:/flavor-toy@champion")
    finally:
        mlflow.set_tracking_uri(before)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert sys.path == path  # nothing in the artifact is importable
    rows = model.predict(pd.DataFrame({"path": [str(clip), str(clip)], "transcript": ["hello there", None]}))
    assert list(rows.columns) == ["emotion", "confidence", "contradiction", "answer_json"]
    answers = [json.loads(text) for text in rows["answer_json"]]
    assert [answer["emotion"] for answer in answers] == rows["emotion"].tolist()
    assert answers[0]["presence"]["text"] > 0
    assert answers[1]["presence"]["text"] == 0
    assert answers[0]["model"]["bundle_sha256"] == sha256
    tracks = write_tracks(tmp_path / "tracks.mkv", sounds=[tone(1.0, 16_000), tone(1.0, 16_000, hz=500.0)])
    chosen = model.predict(pd.DataFrame({"path": [str(tracks)] * 2, "audio_track": [None, 2]}))
    notes = [json.loads(text)["notes"] for text in chosen["answer_json"]]
    assert [next(note for note in of_clip if "sound tracks" in note) for of_clip in notes] == [
        "2 sound tracks: track 1 is used, the default one",
        "2 sound tracks: track 2 is used, as requested",
    ]
    with pytest.raises(DataError, match="not the number of a track"):
        model.predict(pd.DataFrame({"path": [str(tracks)], "video_track": [1.5]}))


def test_a_bundle_whose_goldens_do_not_hold_is_not_loaded(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    break_goldens(tmp_path / "bundle")
    with pytest.raises(BundleError, match="golden examples do not hold"):
        _load_pyfunc(str(tmp_path / "bundle"))
