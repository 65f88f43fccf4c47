"""From the results of the trainings to the rows of the table: the variants, and combinations of their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.ablation.answers import ALL, FoldResult
from components.ablation.figures import Items, TableRow
from components.ablation.folds import CatalogRow, Fold
from components.ablation.pooled import (
    Pooled,
    answered_by,
    chosen_per_fold,
    ensemble,
    majority,
    pool,
    products,
)
from components.ablation.variants import DEFAULT, UNIMODAL, Variant
from components.evaluation.intervals import Subjects
from components.model.scores import confusion, macro_f1

NESTED = "nested_choice"


@dataclass(frozen=True, kw_only=True)
class VariantResults:
    """A variant with its results, `results[fold][seed]`, and the names of the variants that resolve to the same."""

    variant: Variant
    results: Sequence[Sequence[FoldResult]]
    same: tuple[str, ...] = ()


def make_rows(
    trained: Sequence[VariantResults], level: str
) -> tuple[list[TableRow], dict[str, Pooled], tuple[str, ...]]:
    """All rows; the first is the default.

    Returns:
        the rows, the pooled answers by variant, and the variant that each fold's calibration split chose.
    """
    pooled = {results.variant.name: pool(results.results, level) for results in trained}
    rows = [_row(results, pooled[results.variant.name]) for results in trained]
    default = pooled[DEFAULT]
    patterns = [name for name in default.posterior if name != ALL]
    rows.append(_made("majority", "the class frequencies of the training split", {ALL: majority(default)}))
    if len(default.unimodal) > 1:
        made = products(default.unimodal, patterns, default.prior)
        rows.append(_made("product_of_experts", "product of the default's calibrated unimodal heads", made))
    alone = {
        name.removeprefix(UNIMODAL): answers.posterior[name.removeprefix(UNIMODAL)]
        for name, answers in pooled.items()
        if name.startswith(UNIMODAL) and name.removeprefix(UNIMODAL) in answers.posterior
    }
    if len(alone) > 1:
        made = products(alone, patterns, default.prior)
        rows.append(_made("product_of_unimodal", "product of calibrated models trained on one modality each", made))
    candidates = {
        results.variant.name: pooled[results.variant.name] for results in trained if results.variant.candidate
    }
    if default.seeds > 1:
        best = max(candidates, key=lambda name: _mean_macro_f1(candidates[name]))
        for name in dict.fromkeys((DEFAULT, best)):
            about = f"mean posterior of {default.seeds} seeds of {name}"
            rows.append(_made(f"ensemble_{name}", about, ensemble(candidates[name].posterior)))
    chosen = chosen_per_fold(candidates)
    if len(candidates) > 1:
        about = "the variant that each fold's calibration split chose"
        rows.append(_made(NESTED, about, {ALL: answered_by(chosen, candidates)}))
    return rows, pooled, chosen


def make_items(pooled: Pooled, folds: Sequence[Fold], catalog: Sequence[CatalogRow]) -> Items:
    """The people, labels and groups of the items, from the catalog's rows."""
    known = {row["clip_id"]: row for row in catalog}
    clips = [known[str(clip_id)] for clip_id in pooled.clips]
    return Items(
        subjects=Subjects.of([row["subject_id"] for row in clips]),
        truth=pooled.truth,
        fold=pooled.fold,
        folds=tuple(fold.name for fold in folds),
        groups=[{**dict(row["groups"] or ()), "dataset": row["dataset"]} for row in clips],
    )


def _row(one: VariantResults, pooled: Pooled) -> TableRow:
    facts = [result.facts for seeds in one.results for result in seeds]
    seconds = [sum(fact["core_seconds"].values()) for fact in facts]
    return TableRow(
        name=one.variant.name,
        about=one.variant.about,
        posterior=pooled.posterior,
        candidate=one.variant.candidate,
        facts={
            "kind": "trained",
            "same": list(one.same),
            "parameters": int(facts[0]["parameters"]),
            "core_seconds": round(float(np.median(seconds)), 1),
            "code": sorted({str(fact.get("code", "unknown")) for fact in facts}),
        },
    )


def _made(name: str, about: str, posterior: Mapping[str, Any]) -> TableRow:
    facts: dict[str, Any] = {"kind": "made", "same": [], "parameters": None, "core_seconds": None, "code": []}
    return TableRow(name=name, about=about, posterior=posterior, candidate=False, facts=facts)


def _mean_macro_f1(pooled: Pooled) -> float:
    posterior = pooled.posterior[ALL]
    counts = [confusion(pooled.truth, answers, posterior.shape[-1]) for answers in posterior.argmax(-1)]
    return float(macro_f1(np.stack(counts)).mean())
