"""How far a model of one dataset carries over to another: trained on rows, tested on columns.

A cell is answered twice: as recordings of which nothing is known, and adapted to the tested dataset's own recordings
without their labels (`features/adaptation.py`). One row per dataset trains on it alone; in the last one each dataset is
tested by models trained on all others. On the diagonal people are tested who were not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ablation.answers import ADAPTED, ALL, FoldResult
from components.ablation.figures import Items, TableRow, table
from components.ablation.folds import CatalogRow, Fold
from components.contracts.config import Evaluate
from components.evaluation.intervals import Subjects

# The row in which each dataset is tested by models that were trained on all others.
OTHERS = "all others"
UNKNOWN = "unknown"
FIGURES = ("uar", "accuracy", "ece")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The table.

    Attributes:
        datasets: the columns, and the rows before `OTHERS`.
        classes: their number.
        cells: `trained_on`, `tested_on`, `items` (clips or steps), `people`; `unknown` and `adapted`, each figure →
            value, low, high, seed_sd; and `gain`, adapted minus unknown on the same resampled people.
        failed: row → why it could not be trained.
    """

    datasets: tuple[str, ...]
    classes: int
    cells: tuple[Mapping[str, Any], ...]
    failed: Mapping[str, str]

    @property
    def rows(self) -> tuple[str, ...]:
        """What was trained on, from top to bottom."""
        return (*self.datasets, OTHERS)

    def cell(self, row: str, column: str) -> Mapping[str, Any] | None:
        """One cell; None where it was not measured."""
        for cell in self.cells:
            if (cell["trained_on"], cell["tested_on"]) == (row, column):
                return cell
        return None

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {"datasets": list(self.datasets), "cells": list(self.cells), "failed": dict(self.failed)}


def transfer(
    alone: Mapping[str, Sequence[FoldResult]],
    others: Sequence[tuple[Fold, Sequence[FoldResult]]],
    catalog: Sequence[CatalogRow],
    level: str,
    config: Evaluate,
    *,
    seed: int,
    failed: Mapping[str, str],
) -> Transfer:
    """The table of the answers of trainings.

    Args:
        alone: dataset → the results of all seeds of training on it alone.
        others: the folds in which one dataset is tested by training on the others, with their results.
        catalog: rows of all clips.
        level: "clip" or "step".
        config, seed: of the intervals.
        failed: dataset → why training on it alone was not possible.
    """
    known = {row["clip_id"]: row for row in catalog}
    datasets = tuple(sorted({row["dataset"] for row in catalog}))
    measured = [(dataset, datasets, results) for dataset, results in sorted(alone.items())]
    measured += [(OTHERS, (fold.name,), results) for fold, results in others]
    cells = [
        _cell(row, column, _Answered(results=results, catalog=known, level=level), config, seed)
        for row, columns, results in measured
        for column in columns
    ]
    classes = measured[0][2][0].prior[level].size
    there = tuple(cell for cell in cells if cell is not None)
    return Transfer(datasets=datasets, classes=classes, cells=there, failed=dict(failed))


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """The answers of all seeds of one training at one level, and the catalog's rows by clip."""

    results: Sequence[FoldResult]
    catalog: Mapping[str, CatalogRow]
    level: str

    def of(self, dataset: str) -> tuple[Items, list[TableRow]]:
        """The items of a dataset; the answers to them as unknown recordings, and adapted."""
        answers = self.results[0].answers["test", self.level]
        clips = [self.catalog[answers.clips[index]] for index in answers.clip]
        chosen = np.array([clip["dataset"] == dataset for clip in clips], dtype=bool)
        count = int(chosen.sum())
        items = Items(
            subjects=Subjects.of([clip["subject_id"] for clip in clips if clip["dataset"] == dataset]),
            truth=answers.truth[chosen],
            fold=np.zeros(count, dtype=np.int64),
            folds=(dataset,),
            groups=[{}] * count,
        )
        return items, [self._row(split, chosen) for split in ("test", ADAPTED)]

    def _row(self, split: str, chosen: NDArray[np.bool_]) -> TableRow:
        posterior = [result.answers[split, self.level].posterior[ALL][chosen] for result in self.results]
        return TableRow(name=split, about="", posterior={ALL: np.stack(posterior)}, candidate=False, facts={})


def _cell(row: str, column: str, answered: _Answered, config: Evaluate, seed: int) -> dict[str, Any] | None:
    items, rows = answered.of(column)
    if not items.truth.size:
        return None
    unknown, adapted = table(rows, items, config, seed=seed)
    return {
        "trained_on": row,
        "tested_on": column,
        "items": int(items.truth.size),
        "people": len(items.subjects.names),
        UNKNOWN: {name: unknown["figures"][name] for name in FIGURES},
        ADAPTED: {name: adapted["figures"][name] for name in FIGURES},
        "gain": {name: adapted["minus_default"][name] for name in FIGURES},
    }


def to_markdown(made: Transfer, number: Any) -> str:
    """Two tables, one below the other; `number` writes a figure with its interval."""
    lines = []
    for kind, title in ((UNKNOWN, "as unknown recordings"), (ADAPTED, "adapted to the tested recordings, unlabelled")):
        lines += [f"UAR of the default, {title}:", ""]
        lines += ["| trained on | " + " | ".join(made.datasets) + " |", "|" + "---|" * (len(made.datasets) + 1)]
        for row in made.rows:
            cells = [made.cell(row, column) for column in made.datasets]
            if any(cells):
                texts = ["–" if cell is None else number(cell[kind]["uar"]) for cell in cells]
                lines.append(f"| {row} | " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"Not trained on {name} alone: {reason}" for name, reason in made.failed.items())])
