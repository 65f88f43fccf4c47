"""The whole configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator, model_validator

from components.contracts.config.ablate import Ablate
from components.contracts.config.alignment import Alignment
from components.contracts.config.base import Section
from components.contracts.config.catalog import Catalog
from components.contracts.config.evaluate import Evaluate, Gates
from components.contracts.config.features import Features
from components.contracts.config.labels import Labels
from components.contracts.config.model import Model
from components.contracts.config.promotion import Promotion
from components.contracts.config.ray import RayResources
from components.contracts.config.retrain import Retrain
from components.contracts.config.runtime import Runtime
from components.contracts.config.serving import Rollout, Serving
from components.contracts.config.tracking import Registry, Tracking
from components.contracts.config.train import Train
from components.contracts.config.tune import Tune
from components.contracts.config.validation import Validation


class Params(Section):
    """The whole of `params.yaml`."""

    datasets: tuple[str, ...] = ("synthetic",)
    """The corpora to learn from, by name; `mer datasets list` shows them. Each may have a section of its own name."""

    seed: int = 7
    """Start of every random draw: what the synthetic corpus shows, who is dealt to which split, first weights, the
    order and the random changes of training clips, and the draws behind intervals."""

    labels: Labels = Labels()
    """Which classes are learned."""

    alignment: Alignment = Alignment()
    """The common clock and what is placed on it."""

    features: Features = Features()
    """Which encoder serves each modality."""

    validation: Validation = Validation()
    """Thresholds of the data contracts."""

    catalog: Catalog = Catalog()
    """How people are dealt to splits."""

    model: Model = Model()
    """Which model, and its sizes."""

    train: Train = Train()
    """How the model is trained."""

    evaluate: Evaluate = Evaluate()
    """Measurement on held-out people."""

    ablate: Ablate = Ablate()
    """The comparison of variants, `mer ablate`."""

    tune: Tune = Tune()
    """The search for better settings, `mer tune`."""

    gates: Gates = Gates()
    """What a version must show before it may be promoted."""

    promotion: Promotion = Promotion()
    """How a version must compare with the champion, `mer gates`."""

    tracking: Tracking = Tracking()
    """Where trainings are recorded in MLflow."""

    registry: Registry = Registry()
    """The registered model."""

    serving: Serving = Serving()
    """The service that answers requests."""

    rollout: Rollout = Rollout()
    """How the service follows the registry."""

    ray: RayResources = RayResources()
    """The one Ray of a run."""

    runtime: Runtime = Runtime()
    """How a training runs: workers, checkpoints. No stage depends on it."""

    retrain: Retrain = Retrain()
    """When to train again, `mer retrain`."""

    sources: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)
    """Dataset → its own section of `params.yaml`, as it stands there; the dataset's adapter types it. It is filled by
    `parse_params` and is not a key of the file."""

    @field_validator("datasets")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("name at least one dataset")
        if len(set(names)) != len(names):
            raise ValueError("a dataset is named twice")
        return names

    @property
    def served_model(self) -> str:
        """The registered model whose alias is followed."""
        return self.rollout.model_name or self.registry.model_name

    @model_validator(mode="after")
    def _whole_where_compiled(self) -> Params:
        if self.runtime.shard and self.train.compile:
            raise ValueError(
                "train.compile needs whole weights on each worker, and runtime.shard shares them out: set one of them "
                "to false"
            )
        return self

    @model_validator(mode="after")
    def _experts_are_taught(self) -> Params:
        if self.model.fusion == "product" and not self.train.unimodal_loss:
            raise ValueError("model.fusion: product is taught by train.unimodal_loss alone, so that must not be 0")
        return self
