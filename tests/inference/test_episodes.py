from __future__ import annotations

import numpy as np
import pytest

from components.inference.episodes import Episode, episodes_of_path, kind_of, runs, transitions

CLASSES = ("neutral", "anger", "fear")


def posterior(labels: list[int], sure: float = 0.9) -> np.ndarray:
    rows = np.full((len(labels), 3), (1 - sure) / 2)
    rows[np.arange(len(labels)), labels] = sure
    return rows


def test_a_run_at_an_edge_or_of_a_second_is_no_flash() -> None:
    assert kind_of(0, 4, 40, 10.0) == "sustained"
    assert kind_of(36, 40, 40, 10.0) == "sustained"
    assert kind_of(10, 20, 40, 10.0) == "sustained"
    assert kind_of(10, 19, 40, 10.0) == "flash"


def test_a_gap_between_episodes_changes_at_the_later_onset() -> None:
    pair = [
        Episode(onset_s=0.0, offset_s=1.0, emotion="anger", intensity=1.0, kind="sustained"),
        Episode(onset_s=2.0, offset_s=3.0, emotion="fear", intensity=1.0, kind="sustained"),
    ]
    assert [t.at_s for t in transitions(pair)] == [2.0]
    assert transitions([pair[0], pair[0]]) == []


def test_a_path_becomes_episodes_with_their_intensity() -> None:
    labels = [0] * 10 + [1] * 5 + [0] * 10
    valid = np.ones(25, dtype=bool)
    valid[10:12] = False
    found = episodes_of_path(np.array(labels), posterior(labels, sure=0.8), valid, CLASSES, 10.0)
    assert [(e.emotion, e.onset_s, e.offset_s, e.kind) for e in found] == [
        ("neutral", 0.0, 1.0, "sustained"),
        ("anger", 1.0, 1.5, "flash"),
        ("neutral", 1.5, 2.5, "sustained"),
    ]
    assert found[1].intensity == pytest.approx(0.8)
    assert found[1].duration_s == pytest.approx(0.5)


def test_runs() -> None:
    assert runs(np.array([1, 1, 0, 2, 2])) == [(1, 0, 2), (0, 2, 3), (2, 3, 5)]
    assert runs(np.empty(0, dtype=np.int64)) == []
    path = np.array([0, 1])
    assert len(episodes_of_path(path, posterior([0, 1]), np.array([True, False]), CLASSES, 10.0)) == 1
