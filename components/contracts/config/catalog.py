"""The section `catalog`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.contracts.config.base import Section


class Catalog(Section):
    """How people are dealt to the three splits: by shares, by folds, or as the corpora say. `train`, `calibration` and
    `test` add up to 1; `folds` and `use_corpus_splits` exclude each other."""

    train: float = Field(0.6, gt=0, lt=1)
    """The share of people whose clips are learned from."""

    calibration: float = Field(0.2, gt=0, lt=1)
    """The share of people on whose clips temperatures, thresholds and weights of the ways to read a clip are fitted."""

    test: float = Field(0.2, gt=0, lt=1)
    """The share of people whose clips are only measured on."""

    use_corpus_splits: bool = False
    """Whether the splits that a corpus publishes are taken over. People without one are dealt; where no calibration
    split is published, it is dealt from the people in train."""

    by_text: bool = False
    """Whether texts are kept apart too (`Clip.text_id`): texts are dealt like people, and a clip whose person and text
    are in different splits is left out. That costs more than half of a corpus in which everybody says everything, and
    cannot be done with fewer texts than splits."""

    folds: Annotated[int, Field(ge=3)] | Literal["corpus"] | None = None
    """Cross-validation in place of shares: a number of folds, or `corpus` for those that the corpus publishes (group
    `fold`). One fold tests, the next one calibrates, the others train."""

    test_fold: int = Field(0, ge=0)
    """With `folds`, the number of the fold that tests, from 0."""

    @model_validator(mode="after")
    def _whole(self) -> Catalog:
        total = self.train + self.calibration + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, calibration and test must add up to 1, they add up to {total:g}")
        if self.folds is not None and self.use_corpus_splits:
            raise ValueError("folds and use_corpus_splits exclude each other")
        if isinstance(self.folds, int) and self.test_fold >= self.folds:
            raise ValueError(f"test_fold must be below folds, {self.folds}")
        return self
