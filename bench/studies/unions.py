"""Whether a union of corpora harms one of them, and whether evening them out helps.

    python -m bench.studies.unions PROJECT MODALITY [--seeds 5] [--folds 4] [--even] [--kept]

The people of each dataset of the project's catalog are dealt to four folds, once per seed: one tests, one calibrates,
two train. Each dataset is answered by models trained on it alone and on the union as it comes; with `--even` also on
the union with `train.dataset_power: 0`. Everything else is as `params.yaml` has it, except that a model which reads
clips by their statistics alone (`model.clip_head: statistics`) is trained for that alone: no loss and no convolution of
its temporal way, whose answers are not looked at.

All tested people are pooled: somebody who is tested under several seeds is one person, and differences are paired by
person. What is trained is kept below `.mer/unions`, so a run that was stopped goes on. One fold of every seed comes
before the next fold, and `--kept` makes the table of those that are whole, so that a stopped run is of use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.studies.few_people import pooled
from components.ablation.answers import ALL, FoldResult, load_result, save_result
from components.ablation.crossval import CatalogClips, Unit, load_corpus, run_unit, unit_fingerprint
from components.ablation.folds import Fold
from components.contracts.config import Params, load_params
from components.contracts.layout import Layout
from components.datasets.registry import names
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, ece_of_sums, paired
from components.model import scores

FOLDS, BINS = 4, 15
ALONE, UNION, EVEN = "alone", "union", "even"
# Fold of a person, counted from the tested one → split.
SPLITS = ("test", "calibration", "train", "train")


def deals(corpus: CatalogClips, seed: int) -> Iterator[Fold]:
    """One fold per quarter of the people of each dataset."""
    rng = np.random.default_rng(seed)
    people = {name: set[str]() for name in datasets(corpus)}
    for row in corpus.rows:
        people[row["dataset"]].add(str(row["subject_id"]))
    number_of = {
        str(person): number
        for own in people.values()
        for number, part in enumerate(np.array_split(rng.permutation(sorted(own)), FOLDS))
        for person in part
    }
    for tested in range(FOLDS):
        split_of = {str(row["clip_id"]): SPLITS[(number_of[row["subject_id"]] - tested) % FOLDS] for row in corpus.rows}
        yield Fold(name=str(tested), split_of=split_of)


def only(fold: Fold, corpus: CatalogClips, dataset: str) -> Fold:
    """The fold without the clips of all other datasets."""
    own = {str(row["clip_id"]) for row in corpus.rows if row["dataset"] == dataset}
    kept = {clip_id: split for clip_id, split in fold.split_of.items() if clip_id in own}
    return Fold(name=f"{fold.name} {dataset}", split_of=kept)


def path_of(unit: Unit, corpus: CatalogClips, kept: Path) -> Path:
    """Where the answers of one training are kept."""
    return kept / f"{unit_fingerprint(unit, corpus)[:16]}.safetensors"


def trained(unit: Unit, corpus: CatalogClips, kept: Path) -> FoldResult:
    """The answers of one training, read where they are kept."""
    path = path_of(unit, corpus, kept)
    result = load_result(path)
    if result is None:
        first = trained(unit.first, corpus, kept) if unit.params.train.refit else None
        result = run_unit(unit, corpus, first)
        save_result(path, result)
        print(f"seed {unit.seed}, fold {unit.fold.name}", file=sys.stderr, flush=True)
    return result


def by_dataset(result: FoldResult, corpus: CatalogClips) -> dict[str, Sample]:
    """Dataset → the answers to its test clips."""
    answers = result.answers["test", "clip"]
    row_of = {row["clip_id"]: row for row in corpus.rows}
    rows = [row_of[answers.clips[index]] for index in answers.clip]
    samples = {}
    for name in sorted({row["dataset"] for row in rows}):
        own = np.array([row["dataset"] == name for row in rows])
        samples[name] = Sample(
            subjects=[row["subject_id"] for row in rows if row["dataset"] == name],
            truth=answers.truth[own],
            posterior=answers.posterior[ALL][own],
        )
    return samples


def units(params: Params, corpus: CatalogClips, modality: str, fold: Fold, seed: int, *, even: bool) -> dict[str, Unit]:
    """What is trained for a fold, by name: each dataset alone, and the union."""

    def unit(of: Fold, **changes: float) -> Unit:
        return Unit(params=lean(params, changes), modalities=(modality,), fold=of, seed=seed)

    alone = {f"{ALONE} {name}": unit(only(fold, corpus, name)) for name in datasets(corpus)}
    return {**alone, UNION: unit(fold), **({EVEN: unit(fold, dataset_power=0.0)} if even else {})}


def lean(params: Params, changes: Mapping[str, Any]) -> Params:
    """The settings with changes to `train`, without what the tested answers do not depend on."""
    model, train = params.model, {"refit": False, **changes}
    if model.clip_head == "statistics":
        model = model.model_copy(update={"tcn_blocks": 0})
        train |= {"step_loss": 0.0, "unimodal_loss": 0.0}
    return params.model_copy(update={"model": model, "train": params.train.model_copy(update=train)})


def datasets(corpus: CatalogClips) -> list[str]:
    """Their names."""
    return sorted({str(row["dataset"]) for row in corpus.rows})


def compare(
    params: Params, layout: Layout, modality: str, *, seeds: int, folds: int, even: bool, kept: bool
) -> dict[str, dict[str, Sample]]:
    """Dataset → what it was trained on → the pooled answers; with `kept` of the folds that were trained before."""
    corpus = load_corpus(layout.root.resolve())
    made: dict[str, dict[str, list[Sample]]] = {name: {} for name in datasets(corpus)}
    dealt = {seed: list(deals(corpus, seed)) for seed in range(params.seed, params.seed + seeds)}
    for fold in range(folds):
        for seed, of_seed in dealt.items():
            parts = units(params, corpus, modality, of_seed[fold], seed, even=even)
            folder = layout.state / "unions"
            if kept and not all(path_of(unit, corpus, folder).is_file() for unit in parts.values()):
                continue
            for what, unit in parts.items():
                for name, sample in by_dataset(trained(unit, corpus, folder), corpus).items():
                    made[name].setdefault(what.split()[0], []).append(sample)
    return {name: {what: pooled(samples) for what, samples in of.items()} for name, of in made.items() if of}


def main(arguments: Sequence[str]) -> int:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.unions")
    parser.add_argument("project", type=Path)
    parser.add_argument("modality")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(1, FOLDS + 1), help="tested per seed")
    parser.add_argument("--even", action="store_true", help="also the union with train.dataset_power: 0")
    parser.add_argument("--kept", action="store_true", help="train nothing")
    chosen = parser.parse_args(arguments)
    params = load_params(chosen.project / "params.yaml", names())
    made = compare(
        params,
        Layout(chosen.project),
        chosen.modality,
        seeds=chosen.seeds,
        folds=chosen.folds,
        even=chosen.even,
        kept=chosen.kept,
    )
    bootstrap = Bootstrap(seed=params.seed)
    print("| tested on | trained on | UAR | minus alone | minus union | ECE |\n|---|---|---|---|---|---|")
    for name, of in made.items():
        for what, sample in of.items():
            differences = [
                str(paired(sample, of[other], bootstrap=bootstrap, statistic=scores.uar))
                if (what, other) in ((UNION, ALONE), (EVEN, ALONE), (EVEN, UNION))
                else ""
                for other in (ALONE, UNION)
            ]
            uar = bootstrap.of_sums(sample.confusion_by_subject(), scores.uar)
            ece = bootstrap.of_sums(sample.bins_by_subject(BINS), ece_of_sums)
            print(f"| {name} | {what} | {uar} | {' | '.join(differences)} | {ece} |")
        print(f"\n{name}: {sample.size} answers about {len(set(sample.subjects))} people\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
