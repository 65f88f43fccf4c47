"""Projects of toy features after `train` and `evaluate`: the input of the register stage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.alignment.fingerprint import alignment_fingerprint
from components.contracts.atomic import read_json, write_json, write_table
from components.contracts.config import Params
from components.contracts.layout import Layout
from components.contracts.records import Clip, clip_table
from pipelines.stages import call_stage
from tests.model.toys import Toy
from tests.training.catalogs import tiny_params, write_catalog

TOY = Toy(clips=32, steps=(8, 12), noise=0.5, subjects=4)


def make_params(uri: str, name: str, **fields: Any) -> Params:
    """Small and quick; gates that an almost untrained model passes."""
    base = tiny_params(uri, name).model_dump()
    base["evaluate"] = {"bootstrap": 50, "timelines": 2}
    base["gates"] = {"min_gain_over_majority": 0.0, "max_ece": 1.0, "max_missing_modality_drop": 1.0}
    base["registry"] = {"model_name": name, "starter": False}
    base["train"] = {**base["train"], "epochs": 6}
    return Params.model_validate({**base, **fields})


@dataclass(frozen=True, kw_only=True)
class EvaluatedProject:
    """A project after `evaluate`."""

    params: Params
    layout: Layout

    def copied(self, root: Path) -> Layout:
        """Its outputs in another folder."""
        shutil.copytree(self.layout.root / "data", root / "data")
        return Layout(root)


def make_project(root: Path, params: Params) -> Layout:
    """Runs the stages on toy features."""
    layout = Layout(root)
    write_catalog(layout, TOY)
    catalog = read_json(layout.catalog / "catalog.json")
    catalog["alignment_fingerprint"] = alignment_fingerprint(params.alignment)
    catalog["splits"] = {split: {"clips": TOY.clips, "subjects": TOY.subjects} for split in catalog["splits"]}
    write_json(layout.catalog / "catalog.json", catalog)
    write_table(layout.dataset("toy") / "clips.parquet", clip_table(toy_clips(layout)))
    call_stage("train", params, layout)
    call_stage("evaluate", params, layout)
    return layout


def toy_clips(layout: Layout) -> list[Clip]:
    """The clip table that belongs to the toy catalog; test people agreed to more than the others."""
    columns = ["clip_id", "dataset", "content_sha256", "subject_id", "session_id", "split"]
    rows = pq.read_table(layout.catalog / "catalog.parquet", columns=columns).to_pylist()
    consents = {"train": "in writing", "calibration": "in writing", "test": "in writing, and to publication"}
    return [Clip(**{**row, "split": None}, licence="CC0", consent=consents[row["split"]]) for row in rows]
