from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.studies.transfer_probe import AS_THEY_ARE, BY_OWN, Clips, answers, table


def shifted() -> Clips:
    """Three corpora in which two classes differ alike, each moved and stretched by its own microphone."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    dataset = np.repeat(["a", "b", "c"], 40)
    rows = rng.standard_normal((120, 6)) + 3.0 * labels[:, None]
    for name, move, stretch in (("a", -40.0, 1.0), ("b", 0.0, 3.0), ("c", 40.0, 0.3)):
        rows[dataset == name] = rows[dataset == name] * stretch + move
    people = np.array([f"{name}/{number % 5}" for number, name in enumerate(dataset)])
    return Clips(rows=rows, labels=labels, dataset=dataset, people=people)


def test_what_a_corpus_does_to_all_its_clips_is_undone_without_labels() -> None:
    clips = shifted()
    rows = table(clips)
    assert [(row["clips"], row["people"]) for row in rows] == [(40, 5)] * 3
    assert min(row[BY_OWN]["value"] for row in rows) > 0.95
    assert min(row[AS_THEY_ARE]["value"] for row in rows) < 0.6
    # The labels of the tested corpus change nothing.
    blind = replace(clips, labels=np.where(clips.dataset == "c", 0, clips.labels))
    assert np.array_equal(answers(clips, "c", BY_OWN, 0.1), answers(blind, "c", BY_OWN, 0.1))
