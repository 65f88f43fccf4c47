"""The section `ablate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.contracts.config.base import Section


class Ablate(Section):
    """The comparison of model variants by cross-validation, `mer ablate`."""

    folds: Annotated[int, Field(ge=3)] | Literal["corpus", "dataset"] = 5
    """A number of folds, dealt by person; `corpus` for those that the corpora publish, or else their own test split as
    the only fold; `dataset` to leave one dataset out at a time."""

    seeds: int = Field(5, gt=0)
    """Trainings per variant and fold, with the seeds `seed`, `seed` + 1, … Below five no difference is called a
    claim."""

    epochs: int | None = Field(None, gt=0)
    """Epochs per training in place of `train.epochs`; null takes that."""

    workers: int = Field(2, ge=0)
    """Trainings at a time, each on one core; 0 trains one after the other in the calling process, without Ray."""

    variants: tuple[str, ...] = ()
    """Names of the variants, as `components/ablation/variants.py` lists them; all when empty. The default is always
    among them."""

    name: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the folder below `.mer/ablation` and of the MLflow run; null makes one of the datasets and the folds."""
