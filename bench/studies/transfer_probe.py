"""A linear probe of how far clip features carry over from corpus to corpus, beside which `mer ablate --folds dataset`
is to be read.

    python -m bench.studies.transfer_probe PROJECT [MODALITY]

For each dataset of the project's catalog a logistic regression on mean and standard deviation over time is trained on
the clips of all others and tested on it: standardised by the training clips, and each dataset by its own clips without
their labels. The strength of its regularisation is chosen by leaving one of the *training* datasets out. People, clips
and figures are those of the transfer table. It takes three datasets or more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.ablation.report import figure
from components.catalog.examples import Example, load_examples
from components.contracts.labels import UNLABELLED
from components.contracts.layout import Layout
from components.evaluation.intervals import Bootstrap, Subjects
from components.model import scores

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
AS_THEY_ARE, BY_OWN = "as they are", "each by its own"


@dataclass(frozen=True, kw_only=True)
class Clips:
    """N clips: `rows` (N, 2 D) mean beside standard deviation over time, `labels`, `dataset` and `people` (N,)."""

    rows: NDArray[np.float64]
    labels: NDArray[np.int64]
    dataset: NDArray[np.str_]
    people: NDArray[np.str_]

    @classmethod
    def of(cls, examples: Sequence[Example], modality: str) -> Clips:
        """The labelled ones that have the modality."""
        chosen = [one for one in examples if one.clip_label != UNLABELLED and modality in one.encoded]
        values = [one.encoded[modality].values[one.encoded[modality].valid].astype(np.float64) for one in chosen]
        return cls(
            rows=np.stack([np.concatenate([rows.mean(0), rows.std(0)]) for rows in values]),
            labels=np.array([one.clip_label for one in chosen]),
            dataset=np.array([one.dataset for one in chosen]),
            people=np.array([one.subject_id for one in chosen]),
        )

    def standardised(self, kind: str, trained_on: NDArray[np.bool_]) -> NDArray[np.float64]:
        """By the clips `trained_on`, or each dataset by itself."""
        out = np.empty_like(self.rows)
        for name in np.unique(self.dataset):
            own = self.dataset == name
            by = self.rows[own if kind == BY_OWN else trained_on]
            out[own] = (self.rows[own] - by.mean(0)) / np.maximum(by.std(0), 1e-8)
        return out


def answers(clips: Clips, tested: str, kind: str, strength: float, left_out: str = "") -> NDArray[np.int64]:
    """Of a probe trained on all datasets but two, for the clips of `tested`."""
    from sklearn.linear_model import LogisticRegression

    trained_on = (clips.dataset != tested) & (clips.dataset != left_out)
    rows, own = clips.standardised(kind, trained_on), clips.dataset == tested
    probe = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
    return np.asarray(probe.fit(rows[trained_on], clips.labels[trained_on]).predict(rows[own]))


def chosen_strength(clips: Clips, tested: str, kind: str) -> float:
    """The best on the training datasets, each tested by the others."""
    others = [name for name in np.unique(clips.dataset) if name != tested]
    return max(
        STRENGTHS,
        key=lambda strength: float(
            np.mean([_uar(clips, name, answers(clips, name, kind, strength, left_out=tested)) for name in others])
        ),
    )


def table(clips: Clips, *, seed: int = 7) -> list[dict[str, Any]]:
    """One row per tested dataset: clips, people, and per kind of standardisation the UAR with its interval."""
    made = []
    for tested in (str(name) for name in np.unique(clips.dataset)):
        own = clips.dataset == tested
        subjects = Subjects.of(clips.people[own].tolist())
        row: dict[str, Any] = {"tested": tested, "clips": int(own.sum()), "people": len(subjects.names)}
        for kind in (AS_THEY_ARE, BY_OWN):
            strength = chosen_strength(clips, tested, kind)
            said = answers(clips, tested, kind, strength)
            sums = scores.confusion_by_group(
                subjects.index, len(subjects.names), clips.labels[own], said, int(clips.labels.max()) + 1
            ).astype(np.float64)
            row[kind] = {**Bootstrap(seed=seed).of_sums(sums, scores.uar).to_json(), "strength": strength}
        made.append(row)
    return made


def _uar(clips: Clips, name: str, said: NDArray[np.int64]) -> float:
    counts = scores.confusion(clips.labels[clips.dataset == name], said, int(clips.labels.max()) + 1)
    return float(scores.uar(counts))


def main(arguments: Sequence[str]) -> int:
    """Prints the table as Markdown."""
    root, modality = Path(arguments[0]), arguments[1] if len(arguments) > 1 else "voice"
    print(f"| tested on | clips | people | UAR, {AS_THEY_ARE} | UAR, {BY_OWN} |\n|---|---|---|---|---|")
    for row in table(Clips.of(load_examples(Layout(root)), modality)):
        cells = [f"{figure(row[kind])} (C {row[kind]['strength']:g})" for kind in (AS_THEY_ARE, BY_OWN)]
        print(f"| {row['tested']} | {row['clips']} | {row['people']} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
