"""`mer ablate`: every variant on every fold with every seed, as Ray tasks, and the comparison in files and MLflow.

A finished training is not repeated: its answers are stored below `.mer/ablation/results` under the hash of everything
they depend on. An interrupted ablation continues where it stopped, and a new variant costs only its own trainings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.ablation.answers import FoldResult, load_result, save_result
from components.ablation.crossval import (
    CALIBRATION,
    CatalogClips,
    Unit,
    levels,
    load_corpus,
    run_unit,
    unit_fingerprint,
)
from components.ablation.figures import details, table, verdict
from components.ablation.folds import Fold, alone, make_folds
from components.ablation.report import Report, write_report
from components.ablation.rows import VariantResults, make_items, make_rows
from components.ablation.transfer import Transfer, transfer
from components.ablation.variants import DEFAULT, Variant, choose
from components.contracts.config import MODALITIES, Params
from components.contracts.errors import ConfigError, DataError, MerError
from components.contracts.fingerprint import fingerprint
from components.contracts.layout import Layout
from components.contracts.lineage import collect
from components.runtime.cluster import connect
from components.runtime.progress import progress
from components.tracking.names import flat_figures
from components.tracking.runs import has_run, new_run
from components.training.earlier import Earlier

SHA_TAG = "mer.ablation_sha256"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A training that the table needs: its variant, fold and seed, and the file of its result.

    `first` is the file of the training whose calibration it reuses; None without `train.refit`.
    """

    variant: str
    fold: int
    seed: int
    unit: Unit
    path: Path
    first: Path | None


def run(params: Params, layout: Layout) -> Report:
    """Compares the variants that `params.ablate` names, on the catalog of the project.

    Raises:
        DataError: there is no catalog, or the folds cannot be made.
        ConfigError: an unknown variant.
        MerError: the default could not be trained. Any other variant that fails is reported in `Report.failed`.
    """
    root = layout.root.resolve()
    corpus = load_corpus(root)
    if not levels(corpus.rows):
        raise DataError("no clip of the catalog has a label", where="ablate")
    folds = make_folds(corpus.clips, params.ablate.folds, params.seed, config=params.catalog)
    failed: dict[str, str] = {}
    variants, same = _resolve(params, corpus, folds, layout, failed)
    jobs = _jobs(variants, corpus, folds, params, layout)
    _train(jobs, root, params, failed, code=_code(root, corpus))
    trained = [
        VariantResults(
            variant=variant, results=_results(jobs, variant.name, len(folds)), same=same.get(variant.name, ())
        )
        for variant, _ in variants
        if variant.name not in failed
    ]
    report = _compare(trained, corpus, folds, params, failed)
    if params.ablate.folds == "dataset":
        others = list(zip(folds, trained[0].results, strict=True))
        report = replace(report, transfer=_transfer(variants[0], others, corpus, params, layout))
    folder = layout.state / "ablation" / report.name
    write_report(folder, report)
    _publish(report, folder, {variant.name: applied for variant, applied in variants}, layout)
    return report


def modalities_of(corpus: CatalogClips) -> tuple[str, ...]:
    """The modalities of which any clip has something, in the model's order."""
    there = {name for row in corpus.rows for name, _ in row["keys"]}
    known = tuple(name for name in MODALITIES if name in there)
    return known + tuple(sorted(there - set(known)))


def _resolve(
    params: Params, corpus: CatalogClips, folds: Sequence[Fold], layout: Layout, failed: dict[str, str]
) -> tuple[list[tuple[Variant, Params]], dict[str, tuple[str, ...]]]:
    """The variants that differ, with their configuration; and by variant the names that resolve to the same."""
    modalities = modalities_of(corpus)
    changed = {} if params.ablate.epochs is None else {"epochs": params.ablate.epochs}
    base = params.model_copy(update={"train": params.train.model_copy(update=changed)})
    first: dict[str, str] = {}
    variants: list[tuple[Variant, Params]] = []
    same: dict[str, tuple[str, ...]] = {}
    for variant in choose(params.ablate.variants, modalities):
        try:
            applied = variant.applied(base)
        except ConfigError as error:
            if variant.name == DEFAULT:
                raise
            _note(failed, variant.name, error)
            continue
        unit = Unit(
            params=applied,
            modalities=variant.modalities or modalities,
            fold=folds[0],
            seed=0,
            earlier=_earlier(applied, layout),
        )
        known = first.setdefault(unit_fingerprint(unit, corpus), variant.name)
        if known == variant.name:
            variants.append((variant, applied))
        else:
            same[known] = (*same.get(known, ()), variant.name)
    return variants, same


def _jobs(
    variants: Sequence[tuple[Variant, Params]],
    corpus: CatalogClips,
    folds: Sequence[Fold],
    params: Params,
    layout: Layout,
) -> list[_Job]:
    """Seeds outermost, so that what is done first is a whole table with fewer seeds; of a seed first those that others
    take the calibration of."""

    def file(unit: Unit) -> Path:
        return layout.state / "ablation" / "results" / f"{unit_fingerprint(unit, corpus)}.safetensors"

    modalities = modalities_of(corpus)
    jobs = []
    for seed in range(params.ablate.seeds):
        for fold_index, fold in enumerate(folds):
            for variant, applied in variants:
                unit = Unit(
                    params=applied,
                    modalities=variant.modalities or modalities,
                    fold=fold,
                    seed=params.seed + seed,
                    earlier=_earlier(applied, layout),
                )
                first = file(unit.first) if applied.train.refit else None
                job = _Job(variant=variant.name, fold=fold_index, seed=seed, unit=unit, path=file(unit), first=first)
                jobs.append(job)
    return sorted(jobs, key=lambda job: (job.seed, job.first is not None))


def _earlier(applied: Params, layout: Layout) -> Earlier | None:
    """The version that a variant's trainings start from: that of `params.yaml`, or none."""
    return None if applied.train.start_from is None else Earlier.read(layout.start)


def _train(jobs: Sequence[_Job], root: Path, params: Params, failed: dict[str, str], *, code: str) -> None:
    """Makes the results that are not there yet."""
    todo = [job for job in jobs if load_result(job.path) is None]
    if not todo:
        print(f"ablate: all {len(jobs)} trainings were there", file=sys.stderr)
        return
    # What failed is not tried on the other folds and seeds.
    queue = (job for job in todo if job.variant not in failed)

    with progress(f"ablate: trainings ({len(jobs) - len(todo)} of {len(jobs)} were there)", len(todo)) as advance:

        def done(job: _Job, error: MerError | None) -> None:
            advance(1)
            if error is not None:
                if job.variant == DEFAULT:
                    raise error
                _note(failed, job.variant, error)

        if params.ablate.workers:
            _with_ray(queue, root, params, done, code=code)
        else:
            for job in queue:
                done(job, _attempt(job, root, code))


def _with_ray(
    queue: Iterator[_Job], root: Path, params: Params, done: Callable[[_Job, MerError | None], None], *, code: str
) -> None:
    import ray

    connect(params.ray)
    attempt = ray.remote(num_cpus=1, max_retries=2)(_attempt)
    working: dict[Any, _Job] = {}
    try:
        while True:
            for job in queue:
                working[attempt.remote(job, root, code)] = job
                if len(working) >= params.ablate.workers:
                    break
            if not working:
                return
            for reference in ray.wait(list(working), num_returns=1)[0]:
                job = working.pop(reference)
                done(job, ray.get(reference))
    finally:
        for reference in working:
            ray.cancel(reference, force=True)


def _attempt(job: _Job, root: Path, code: str) -> MerError | None:
    """One training with its file; an error of the project's tree is returned, so that the others go on."""
    corpus = load_corpus(root)

    def make(unit: Unit, path: Path, first: FoldResult | None = None) -> FoldResult:
        result = run_unit(unit, corpus, first)
        save_result(path, replace(result, facts={**result.facts, "code": code}))
        return result

    try:
        first = None if job.first is None else load_result(job.first)
        if job.first is not None and (first is None or CALIBRATION not in first.facts):
            first = make(job.unit.first, job.first)
        make(job.unit, job.path, first)
    except MerError as error:
        return error
    return None


def _results(jobs: Sequence[_Job], variant: str, folds: int) -> list[list[Any]]:
    results: list[list[Any]] = [[] for _ in range(folds)]
    for job in jobs:
        if job.variant == variant:
            result = load_result(job.path)
            if result is None:
                raise DataError(
                    "a result that was written is gone", where=str(job.path), remedy="Run `mer ablate` again"
                )
            results[job.fold].append(result)
    return results


def _transfer(
    default: tuple[Variant, Params],
    others: Sequence[tuple[Fold, Sequence[FoldResult]]],
    corpus: CatalogClips,
    params: Params,
    layout: Layout,
) -> Transfer:
    """The default trained on each dataset alone, beside its trainings on all others."""
    root, failed = layout.root.resolve(), dict[str, str]()
    results: dict[str, Sequence[FoldResult]] = {}
    for name in sorted(corpus.catalog["datasets"]):
        try:
            fold = alone(corpus.clips, name, params.seed, config=params.catalog)
            jobs = _jobs([default], corpus, [fold], params, layout)
            _train(jobs, root, params, failed, code=_code(root, corpus))
            results[name] = _results(jobs, DEFAULT, 1)[0]
        except DataError as error:
            failed[name] = str(error)
    return transfer(
        results,
        others,
        corpus.rows,
        levels(corpus.rows)[0],
        params.evaluate,
        seed=params.seed,
        failed=failed,
    )


def _compare(
    trained: Sequence[VariantResults],
    corpus: CatalogClips,
    folds: Sequence[Fold],
    params: Params,
    failed: Mapping[str, str],
) -> Report:
    level, *others = levels(corpus.rows)
    classes = tuple(corpus.catalog["classes"])
    rows, pooled, chosen = make_rows(trained, level)
    items = make_items(pooled[DEFAULT], folds, corpus.rows)
    compared = table(rows, items, params.evaluate, seed=params.seed)
    outcome = verdict(compared, seeds=params.ablate.seeds)
    by_name = {row.name: row for row in rows}
    steps = None
    if others:
        step_rows, step_pooled, _ = make_rows(trained, others[0])
        step_items = make_items(step_pooled[DEFAULT], folds, corpus.rows)
        steps = table(step_rows, step_items, params.evaluate, seed=params.seed)
    kind = params.ablate.folds
    datasets = sorted(corpus.catalog["datasets"])
    return Report(
        name=params.ablate.name or f"{'+'.join(datasets)}-{kind}",
        datasets=tuple(datasets),
        classes=classes,
        level=level,
        folds=tuple(folds),
        seeds=params.ablate.seeds,
        config=params.evaluate,
        rows=tuple(rows),
        items=items,
        clips=tuple(str(clip_id) for clip_id in pooled[DEFAULT].clips),
        table=compared,
        steps=steps,
        details={
            name: details(by_name[name], items, classes, params.evaluate, seed=params.seed)
            for name in dict.fromkeys((DEFAULT, outcome["best"]))
        },
        chosen=chosen,
        verdict=outcome,
        failed=dict(failed),
    )


def _note(failed: dict[str, str], name: str, error: MerError) -> None:
    """Records the first error of a variant."""
    failed.setdefault(name, str(error))


def _code(root: Path, corpus: CatalogClips) -> str:
    """The commit that trains, with a plus where files differ from it; "unknown" outside a repository."""
    lineage = collect(root, data_sha256=corpus.catalog["sha256"], datasets={}, seed=0)
    return lineage.git_commit[:12] + ("+" if lineage.git_dirty else "")


def _publish(report: Report, folder: Path, variants: Mapping[str, Params], layout: Layout) -> None:
    """A run with the report, and nested in it one run per row with its settings and figures, unless they exist."""
    tracking = next(iter(variants.values())).tracking
    sha256 = fingerprint(report.to_json())
    if has_run(tracking, layout.root, tag=SHA_TAG, value=sha256):
        return
    with new_run(tracking, layout.root, name=f"ablation {report.name}", tags={SHA_TAG: sha256}) as overall:
        for row in report.table:
            with new_run(tracking, layout.root, name=row["name"], tags={}, parent=overall) as run:
                if row["name"] in variants:
                    applied = variants[row["name"]]
                    run.params({"model": applied.model.model_dump(), "train": applied.train.model_dump()})
                run.metrics(flat_figures({name: row[name] for name in ("figures", "minus_default")}))
        overall.params({"folds": len(report.folds), "seeds": report.seeds, "datasets": "+".join(report.datasets)})
        overall.tags({"mer.verdict": report.verdict["words"]})
        for path in sorted(folder.iterdir()):
            overall.file(path)
