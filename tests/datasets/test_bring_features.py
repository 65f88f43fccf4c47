"""Runs the script of "Bring features, not media" in docs/datasets.md as it stands, and reads what it made."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.contracts.config import Params
from components.contracts.layout import Layout
from components.datasets.corpora.feature_rows import COLUMNS
from components.datasets.corpora.feature_table import FeatureTable, FeatureTableOptions, Terms
from components.datasets.given import GivenReader
from pipelines.stages import call_stage

ROOT = Path(__file__).resolve().parents[2]
SECTION = "## Bring features, not media"
MAX_LINES = 20
VIDEOS = {"v1": ("ann", "train", "happy"), "v2": ("bo", "dev", "glee"), "v3": ("cy", "test", "sadness")}


def section() -> str:
    text = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    return text[text.index(SECTION) :].partition("\n## ")[0]


def script() -> str:
    found = re.search(r'^```python title="convert\.py"\n(.*?)^```$', section(), re.MULTILINE | re.DOTALL)
    assert found
    return found.group(1)


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """OpenFace's layout: a header, then frame, timestamp, and intensities and presences of action units."""
    folder = tmp_path / "downloads" / "openface"
    folder.mkdir(parents=True)
    with (folder / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["video", "person", "set", "emotion"])
        table.writerows([[video, *said] for video, said in VIDEOS.items()])
    for at, video in enumerate(VIDEOS):
        rows = [f"{frame},{frame / 30:.3f},0.98,{at + 1}.5,1" for frame in range(45)]
        (folder / f"{video}.csv").write_text("\n".join(("frame, timestamp, confidence, AU01_r, AU12_c", *rows)) + "\n")
    return tmp_path


def test_the_script_is_short() -> None:
    lines = [line for line in script().splitlines() if line.strip()]
    assert len(lines) <= MAX_LINES


def test_the_script_makes_a_dataset_of_what_was_downloaded(downloads: Path) -> None:
    (downloads / "convert.py").write_text(script())
    subprocess.run([sys.executable, "convert.py"], cwd=downloads, check=True, timeout=120)
    scan = FeatureTable().scan(FeatureTableOptions(root="corpora/openface"), downloads, 7)
    said = {clip.clip_id: (clip.subject_id, clip.split, clip.emotion) for clip in scan.clips}
    assert said == {
        "feature_table/v1": ("feature_table/ann", "train", "happy"),
        "feature_table/v2": ("feature_table/bo", "dev", "amusement"),
        "feature_table/v3": ("feature_table/cy", "test", "sadness"),
    }
    [given] = next(clip for clip in scan.clips if clip.clip_id.endswith("v2")).given
    assert (given.modality, given.rate_hz) == ("face_au", 30)
    assert np.array_equal(GivenReader(downloads).read(given).values, np.tile([2.5, 1.0], (45, 1)))
    params = Params(datasets=("feature_table",), sources={"feature_table": {"root": "corpora/openface"}})
    layout = Layout(downloads)
    assert call_stage("datasets", params, layout, "feature_table")["quarantined"] == 0
    table = pq.read_table(layout.dataset("feature_table") / "clips.parquet", columns=["clip_id", "emotion"])
    assert dict(zip(*table.to_pydict().values(), strict=True)) == {
        "feature_table/v1": "happiness",
        "feature_table/v2": "amusement",
        "feature_table/v3": "sadness",
    }


def test_the_format_table_names_every_column_and_key() -> None:
    table = next(part for part in section().split("\n\n") if part.startswith("| What"))
    for name in (*COLUMNS, *Terms.model_fields, "group_<name>", "values", "rate_hz", "times"):
        assert f"`{name}" in table, name
