"""What the weights of an earlier version are worth where there are few people to learn from.

    python -m bench.studies.few_people PROJECT MODALITY [PEOPLE [SEEDS]]

The project has a catalog and `train.start_from` (`mer inputs` writes the version). Its people are dealt to five folds;
of those outside a fold two calibrate and PEOPLE (2) train, once with random weights and once from the version, SEEDS
(1) times with another deal. Everything is that of `mer ablate`; all tested people of all trainings are pooled, and the
difference is paired by person.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from components.ablation.answers import ALL
from components.ablation.crossval import CatalogClips, Unit, load_corpus, run_unit
from components.ablation.folds import Fold
from components.contracts.config import Params, load_params
from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from components.datasets.registry import names
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, paired
from components.model import scores
from components.training.earlier import Earlier

FOLDS, CALIBRATE = 5, 2


def deals(corpus: CatalogClips, people: int, seed: int) -> Iterator[Fold]:
    """One fold per fifth of the people, with `people` of the others to learn from."""
    everyone = sorted({str(row["subject_id"]) for row in corpus.rows})
    order = np.random.default_rng(seed).permutation(everyone).tolist()
    for number, tested in enumerate(np.array_split(order, FOLDS)):
        others = [person for person in order if person not in tested]
        others = others[number:] + others[:number]
        split_of_person = {
            **dict.fromkeys(map(str, tested), "test"),
            **dict.fromkeys(others[:CALIBRATE], "calibration"),
            **dict.fromkeys(others[CALIBRATE : CALIBRATE + people], "train"),
        }
        split_of = {
            str(row["clip_id"]): split_of_person[row["subject_id"]]
            for row in corpus.rows
            if row["subject_id"] in split_of_person
        }
        yield Fold(name=str(number), split_of=split_of)


def answered(unit: Unit, corpus: CatalogClips) -> Sample:
    """The test clips of one training, as a sample."""
    answers = run_unit(unit, corpus).answers["test", "clip"]
    person = {row["clip_id"]: row["subject_id"] for row in corpus.rows}
    return Sample(
        subjects=[person[answers.clips[index]] for index in answers.clip],
        truth=answers.truth,
        posterior=answers.posterior[ALL],
    )


def pooled(samples: Sequence[Sample]) -> Sample:
    """All of them; a person who was tested with several seeds is one person."""
    return Sample(
        subjects=[person for sample in samples for person in sample.subjects],
        truth=np.concatenate([sample.truth for sample in samples]),
        posterior=np.concatenate([sample.posterior for sample in samples]),
    )


def compare(params: Params, layout: Layout, modality: str, *, people: int, seeds: int) -> dict[str, Sample]:
    """Start → the pooled answers. Raises ConfigError: the project starts from nothing."""
    earlier = Earlier.read(layout.start)
    if earlier is None:
        raise ConfigError(
            "the project starts from no version", where="train.start_from", remedy="Set it: `mer inputs`."
        )
    corpus = load_corpus(layout.root.resolve())
    train = params.train.model_copy(update={"refit": False})
    made: dict[str, list[Sample]] = {"random weights": [], earlier.name: []}
    for seed in range(params.seed, params.seed + seeds):
        for fold in deals(corpus, people, seed):
            unit = Unit(params=params.model_copy(update={"train": train}), modalities=(modality,), fold=fold, seed=seed)
            made["random weights"].append(answered(unit, corpus))
            made[earlier.name].append(answered(replace(unit, earlier=earlier), corpus))
            print(f"seed {seed}, fold {fold.name}", file=sys.stderr, flush=True)
    return {name: pooled(samples) for name, samples in made.items()}


def main(arguments: Sequence[str]) -> int:
    """Prints the table as Markdown."""
    root, modality = Path(arguments[0]), arguments[1]
    people, seeds = (int(value) for value in (*arguments[2:4], *("2", "1")[len(arguments[2:4]) :]))
    params = load_params(root / "params.yaml", names())
    made = compare(params, Layout(root), modality, people=people, seeds=seeds)
    bootstrap = Bootstrap(seed=params.seed)
    first = next(iter(made.values()))
    print(f"{first.size} answers about {len(set(first.subjects))} people\n")
    print("| start | macro-F1 | difference | accuracy | difference |\n|---|---|---|---|---|")
    for name, sample in made.items():
        cells = []
        for statistic in (scores.macro_f1, scores.accuracy):
            cells.append(str(bootstrap.of_sums(sample.confusion_by_subject(), statistic)))
            gain = paired(sample, first, bootstrap=bootstrap, statistic=statistic)
            cells.append("" if sample is first else str(gain))
        print(f"| {name} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
