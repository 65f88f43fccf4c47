"""The sections `tracking` and `registry`: where MLflow is, and what the model is called in it."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section


class Tracking(Section):
    """Where trainings are recorded in MLflow."""

    uri: str = "sqlite:///.mer/mlflow.db"
    """Address of the tracking store; a relative sqlite path starts at the project. The environment's
    MLFLOW_TRACKING_URI goes before it."""

    artifacts: str = ".mer/mlartifacts"
    """Folder of artifacts, relative to the project, where the store is a local sqlite file; a server has its own."""

    experiment: str = "mer"
    """Name of the experiment in MLflow."""


class Registry(Section):
    """The registered model."""

    model_name: str = "mer"
    """Name of the registered model in MLflow."""

    starter: bool = True
    """Whether a model that has no version yet gets the starter, the version that comes with this code, as its first
    one, under the rollout's alias."""

    min_recorded_people: int = Field(1, ge=0)
    """How many people a version must have been trained on in recordings, not rendered, to get the rollout's alias by
    itself while no version has it. A person may move the alias to any version that passed its gates."""
