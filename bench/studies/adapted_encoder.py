"""What it is worth that an encoder's last layers learn (`train.adapt`), on the folds that a corpus publishes.

    python -m bench.studies.adapted_encoder FROZEN ADAPTED MODALITY [--folds 5] [--candidates lora,weights] [--once]

Two projects with the same catalog but for one encoder: FROZEN reads the modality by the whole encoder, ADAPTED by that
which leaves its last layers to the model. Each fold is tested by models of the others: the next one calibrates and the
rest train, as in `mer ablate --folds corpus`. How the layers learn is chosen for each tested fold by the macro-F1 of
the candidates on its calibration fold; then both models are trained again with that fold, as `train.refit` does. So no
choice sees the tested people. Everything else is as `params.yaml` of the project has it.

Differences are paired by person. What is trained is kept below `.mer/adapted` of its project, so a run that was stopped
goes on, and `--kept` makes the table of the folds that are whole. `--once` does without the second training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.studies.few_people import pooled
from bench.studies.unions import BINS, path_of, trained
from components.ablation.answers import ALL, FoldResult
from components.ablation.crossval import CatalogClips, Unit, load_corpus
from components.ablation.folds import make_folds
from components.ablation.stage import modalities_of
from components.contracts.config import AdaptedEncoder, Params, load_params
from components.contracts.layout import Layout
from components.datasets.registry import names
from components.evaluation.intervals import Bootstrap
from components.evaluation.measure import Sample, ece_of_sums, paired
from components.model import scores

FOLDS = 5
FROZEN, ADAPTED = "frozen", "adapted"
ONCE, AGAIN = "trained once", "trained again"
CANDIDATES: Mapping[str, AdaptedEncoder] = {
    "lora": AdaptedEncoder(layers=1),
    "weights": AdaptedEncoder(layers=1, method="weights", rate=0.05),
    "lora of two": AdaptedEncoder(layers=2),
    "weights of two": AdaptedEncoder(layers=2, method="weights", rate=0.05),
}


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose folds are tested, and where its results are kept."""

    params: Params
    corpus: CatalogClips
    kept: Path

    @classmethod
    def read(cls, root: Path) -> Project:
        """Its configuration and clips."""
        params = load_params(root / "params.yaml", names())
        return cls(params=params, corpus=load_corpus(root.resolve()), kept=Layout(root).state / "adapted")

    def unit(self, fold: int, adapt: Mapping[str, AdaptedEncoder], *, refit: bool) -> Unit:
        """The training for a fold."""
        corpus, train = self.corpus, self.params.train.model_copy(update={"adapt": adapt, "refit": refit})
        dealt = make_folds(corpus.clips, "corpus", self.params.seed, config=self.params.catalog)
        params = self.params.model_copy(update={"train": train})
        return Unit(params=params, modalities=modalities_of(corpus), fold=dealt[fold], seed=self.params.seed)

    def result(self, unit: Unit, *, kept: bool) -> FoldResult | None:
        """Of a training; with `kept` None where it has not been trained yet."""
        if kept and not path_of(unit, self.corpus, self.kept).is_file():
            return None
        return trained(unit, self.corpus, self.kept)


def sample(result: FoldResult, corpus: CatalogClips, split: str = "test") -> Sample:
    """The answers to the clips of a split."""
    answers = result.answers[split, "clip"]
    person = {row["clip_id"]: str(row["subject_id"]) for row in corpus.rows}
    return Sample(
        subjects=[person[answers.clips[index]] for index in answers.clip],
        truth=answers.truth,
        posterior=answers.posterior[ALL],
    )


def best(candidates: Mapping[str, Sample]) -> str:
    """The candidate with the highest macro-F1; of equal ones the first."""
    return max(candidates, key=lambda name: float(scores.macro_f1(candidates[name].confusion())))


def frozen_results(project: Project, folds: int, *, again: bool, kept: bool) -> Iterator[tuple[int, str, FoldResult]]:
    """(fold, `ONCE` or `AGAIN`, result) with the encoder as it is."""
    for refit, name in ((False, ONCE), (True, AGAIN))[: 1 + again]:
        for fold in range(folds):
            result = project.result(project.unit(fold, {}, refit=refit), kept=kept)
            if result is not None:
                yield fold, name, result


def adapted_results(
    project: Project, modality: str, candidates: Mapping[str, AdaptedEncoder], folds: int, *, again: bool, kept: bool
) -> Iterator[tuple[int, str, FoldResult]]:
    """The same with the layers that learn as is best for the calibration fold; all folds are trained once before any is
    trained again."""
    choices: dict[int, AdaptedEncoder] = {}
    for fold in range(folds):
        units = {name: project.unit(fold, {modality: own}, refit=False) for name, own in candidates.items()}
        results = {name: project.result(unit, kept=kept) for name, unit in units.items()}
        there = {name: result for name, result in results.items() if result is not None}
        if len(there) < len(candidates):
            continue
        choice = best({name: sample(result, project.corpus, "calibration") for name, result in there.items()})
        choices[fold] = candidates[choice]
        print(f"fold {fold}: {choice}", file=sys.stderr, flush=True)
        yield fold, ONCE, there[choice]
    for fold, settings in choices.items() if again else ():
        result = project.result(project.unit(fold, {modality: settings}, refit=True), kept=kept)
        if result is not None:
            yield fold, AGAIN, result


def table(made: Mapping[str, Mapping[tuple[int, str], Sample]], bootstrap: Bootstrap) -> Iterator[str]:
    """Lines of Markdown: the folds that both have, frozen beside adapted."""
    yield "| trained | folds | encoder | accuracy | minus frozen | macro-F1 | minus frozen | ECE |"
    yield "|---|---|---|---|---|---|---|---|"
    for rounds in (ONCE, AGAIN):
        both = sorted(fold for fold, name in made[FROZEN].keys() & made[ADAPTED].keys() if name == rounds)
        if not both:
            continue
        of = {what: pooled([samples[fold, rounds] for fold in both]) for what, samples in made.items()}
        for what, own in of.items():
            cells = []
            for statistic in (scores.accuracy, scores.macro_f1):
                gain = paired(own, of[FROZEN], bootstrap=bootstrap, statistic=statistic)
                cells += [str(bootstrap.of_sums(own.confusion_by_subject(), statistic)), str(gain)]
                cells[-1] = "–" if what == FROZEN else cells[-1]
            ece = bootstrap.of_sums(own.bins_by_subject(BINS), ece_of_sums)
            numbers = ", ".join(map(str, both))
            yield f"| {rounds} | {numbers} | {what} | {' | '.join(cells)} | {ece} |"


def main(arguments: Sequence[str]) -> int:
    """Trains what is not there yet, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.studies.adapted_encoder")
    parser.add_argument("frozen", type=Path)
    parser.add_argument("adapted", type=Path)
    parser.add_argument("modality")
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(1, FOLDS + 1))
    parser.add_argument("--candidates", default=",".join(CANDIDATES))
    parser.add_argument("--only", choices=(FROZEN, ADAPTED), help="train the models of one project, without a table")
    parser.add_argument("--once", action="store_true", help="do not train again with the calibration fold")
    parser.add_argument("--kept", action="store_true", help="train nothing")
    chosen = parser.parse_args(arguments)
    rounds = {"again": not chosen.once, "kept": chosen.kept}
    candidates = {name: CANDIDATES[name] for name in chosen.candidates.split(",")}
    made: dict[str, dict[tuple[int, str], Sample]] = {}
    if chosen.only in (None, FROZEN):
        project = Project.read(chosen.frozen)
        results = frozen_results(project, chosen.folds, **rounds)
        made[FROZEN] = {(fold, name): sample(result, project.corpus) for fold, name, result in results}
    if chosen.only in (None, ADAPTED):
        project = Project.read(chosen.adapted)
        results = adapted_results(project, chosen.modality, candidates, chosen.folds, **rounds)
        made[ADAPTED] = {(fold, name): sample(result, project.corpus) for fold, name, result in results}
    if len(made) == 2:
        print("\n".join(table(made, Bootstrap(seed=project.params.seed))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
