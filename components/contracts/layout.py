"""The paths of a project: where each stage writes, below the project's root.

Everything under `data/` is an output of `dvc.yaml`; everything under `.mer/` is a cache or a local service's state and
may be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# What names an earlier version in its folder.
EARLIER = "earlier.json"


@dataclass(frozen=True)
class Layout:
    """Paths of a project folder."""

    root: Path

    @property
    def params(self) -> Path:
        """The configuration."""
        return self.root / "params.yaml"

    @property
    def state(self) -> Path:
        """Local state: the MLflow store, downloaded bundles, a rendered corpus's media."""
        return self.root / ".mer"

    @property
    def signing(self) -> Path:
        """The key that signs versions, where the environment gives none: `private.pem`, `public.txt`."""
        return self.state / "signing"

    @property
    def watched(self) -> Path:
        """What `mer drift` keeps between two looks: counts alone."""
        return self.state / "drift.json"

    @property
    def api_keys(self) -> Path:
        """The API keys of the service, where the environment names no other file; see `serving/api_keys.py`."""
        return self.state / "api-keys.json"

    @property
    def webhook_secret(self) -> Path:
        """What MLflow signs its messages to the reconciler with, where the environment names no other file."""
        return self.state / "webhook-secret"

    @property
    def batches(self) -> Path:
        """The service's jobs of many clips, each with its results until they are deleted."""
        return self.state / "batches"

    @property
    def profile(self) -> Path:
        """Traces of trainings (`runtime.profile_steps`), one file per training of the stage."""
        return self.state / "profile"

    @property
    def packed(self) -> Path:
        """The clips of a catalog in one file, where memory does not hold them (`components/catalog/packed.py`)."""
        return self.state / "packed"

    @property
    def reproduced(self) -> Path:
        """The checkouts in which `mer reproduce` trains versions again, one folder per bundle."""
        return self.state / "reproduce"

    @property
    def tuned(self) -> Path:
        """The searches of `mer tune`: what their trials gave, one folder per search."""
        return self.state / "tune"

    def partial(self, stage: str, name: str) -> Path:
        """The intermediate results of an unfinished run of a stage for a dataset."""
        return self.state / "partial" / stage / name

    @property
    def readmitted(self) -> Path:
        """People's decisions about clips in quarantine; committed with the project."""
        return self.root / "readmitted.csv"

    def baseline(self, name: str) -> Path:
        """The statistics of a dataset when a person last accepted it; committed with the project."""
        return self.root / "baselines" / f"{name}.json"

    @property
    def inputs(self) -> Path:
        """The inputs of all stages: `params.yaml` resolved, `<dataset>.json`, and the two below."""
        return self.root / "data" / "inputs"

    def decisions(self, name: str, stage: str) -> Path:
        """People's decisions about the clips of a dataset that a stage set aside."""
        return self.inputs / "decisions" / name / f"{stage}.json"

    def reference(self, name: str) -> Path:
        """The dataset's `baseline`, or `null` where there is none."""
        return self.inputs / "baselines" / f"{name}.json"

    @property
    def start(self) -> Path:
        """The version that training starts from (`train.start_from`); see `components/training/earlier.py`."""
        return self.inputs / "start"

    @property
    def compared(self) -> Path:
        """The version that the evaluation compares with (`evaluate.compare_with`); files as in `start`."""
        return self.inputs / "compared"

    def dataset(self, name: str) -> Path:
        """`clips.parquet`, `quarantine.parquet`, `summary.json`, and `media/` for rendered corpora."""
        return self.root / "data" / "datasets" / name

    def aligned(self, name: str) -> Path:
        """`shard-*.parquet` (rows of ALIGNED_SCHEMA), `quality.parquet`, `quarantine.parquet`, `summary.json`."""
        return self.root / "data" / "aligned" / name

    def features(self, name: str) -> Path:
        """`<modality>/shard-*.parquet`, `index.parquet`, `summary.json`."""
        return self.root / "data" / "features" / name

    def validated(self, name: str) -> Path:
        """`accepted.parquet` (clip ids and keys that may be used), `quarantine.parquet`, `result.json`."""
        return self.root / "data" / "validated" / name

    @property
    def data_docs(self) -> Path:
        """Great Expectations' Data Docs: `index.html`, and one folder per dataset. They contain times of day, so they
        are not an output of the DAG."""
        return self.state / "data_docs"

    @property
    def catalog(self) -> Path:
        """`catalog.parquet`, `catalog.json`."""
        return self.root / "data" / "catalog"

    @property
    def trained(self) -> Path:
        """`model.safetensors`, `model.json`, `transform.safetensors`, `history.json`."""
        return self.root / "data" / "trained"

    @property
    def started(self) -> Path:
        """Exists only with `train.start_from`: what the training started from, and what was taken over."""
        return self.trained / "start.json"

    @property
    def trained_first(self) -> Path:
        """Exists only with `train.refit`: `model.safetensors`, `model.json` and `history.json` of the model that was
        trained without the calibration people."""
        return self.trained / "first"

    @property
    def evaluated(self) -> Path:
        """`metrics.json`, `predictions.parquet`, `calibration.json`, `gates.json`, `plots/`, `report.html`."""
        return self.root / "data" / "evaluated"

    @property
    def registered(self) -> Path:
        """`bundle/` and `registered.json`."""
        return self.root / "data" / "registered"
