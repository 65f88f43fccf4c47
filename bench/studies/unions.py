"""Whether a union of corpora harms one of them, and whether evening them out helps.

    python -m bench.studies.unions PROJECT MODALITY [SEEDS]

The people of each dataset of the project's catalog are dealt to four folds: one tests, one calibrates, two train. Each
dataset is answered by models trained on it alone, on the union as it comes, and on the union with
`train.dataset_power: 0`; SEEDS (1) times with another deal. Everything else is as `params.yaml` has it. All tested
people of all trainings are pooled, and differences are paired by person. What is trained is kept below `.mer/unions`,
so a run that was stopped goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

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
ALONE, UNION, EVEN = "alone", "union", "union, evened out"
# Fold of a person, counted from the tested one → split.
SPLITS = ("test", "calibration", "train", "train")


def deals(corpus: CatalogClips, seed: int) -> Iterator[Fold]:
    """One fold per quarter of the people of each dataset."""
    rng = np.random.default_rng(seed)
    people = {name: set[str]() for name in sorted({str(row["dataset"]) for row in corpus.rows})}
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


def trained(unit: Unit, corpus: CatalogClips, kept: Path) -> FoldResult:
    """The answers of one training, read where they are kept."""
    path = kept / f"{unit_fingerprint(unit, corpus)[:16]}.safetensors"
    result = load_result(path)
    if result is None:
        result = run_unit(unit, corpus)
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


def compare(params: Params, layout: Layout, modality: str, *, seeds: int) -> dict[str, dict[str, Sample]]:
    """Dataset → what it was trained on → the pooled answers."""
    corpus = load_corpus(layout.root.resolve())
    settings: Mapping[str, Mapping[str, float]] = {UNION: {}, EVEN: {"dataset_power": 0.0}}
    made: dict[str, dict[str, list[Sample]]] = {}

    def train(what: str, fold: Fold, seed: int, changes: Mapping[str, float]) -> None:
        train = params.train.model_copy(update={"refit": False, **changes})
        unit = Unit(params=params.model_copy(update={"train": train}), modalities=(modality,), fold=fold, seed=seed)
        for name, sample in by_dataset(trained(unit, corpus, layout.state / "unions"), corpus).items():
            made.setdefault(name, {}).setdefault(what, []).append(sample)

    for seed in range(params.seed, params.seed + seeds):
        for fold in deals(corpus, seed):
            for name in sorted({str(row["dataset"]) for row in corpus.rows}):
                train(ALONE, only(fold, corpus, name), seed, {})
            for what, changes in settings.items():
                train(what, fold, seed, changes)
    return {name: {what: pooled(samples) for what, samples in of.items()} for name, of in made.items()}


def main(arguments: Sequence[str]) -> int:
    """Prints the table as Markdown."""
    root, modality = Path(arguments[0]), arguments[1]
    params = load_params(root / "params.yaml", names())
    made = compare(params, Layout(root), modality, seeds=int(arguments[2]) if len(arguments) > 2 else 1)
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
