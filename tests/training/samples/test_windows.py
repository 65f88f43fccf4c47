from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.catalog.cases import Case
from components.contracts.labels import UNLABELLED
from components.model.published.windows import Windows
from components.training.samples.windows import cut_into_windows
from tests.model.toys import Toy

WINDOWS = Windows(length=6, stride=2, fill=0)


def case_of(labels: list[int], *, hidden: slice = slice(0, 0)) -> Case:
    (case,) = Toy(clips=1, steps=(len(labels), len(labels)), missing=0.0).items()
    masks = {name: mask.copy() for name, mask in case.masks.items()}
    for mask in masks.values():
        mask[hidden] = False
    return replace(case, masks=masks, step_labels=np.array(labels, dtype=np.int64))


def test_a_window_is_a_clip_labelled_like_its_last_step() -> None:
    case = case_of([0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    windows = cut_into_windows([case], WINDOWS)
    assert [window.clip_id for window in windows] == [f"{case.clip_id}@{start}" for start in (0, 2, 4)]
    assert [window.clip_label for window in windows] == [1, 2, 3]
    for start, window in zip((0, 2, 4), windows, strict=True):
        assert window.step_labels.tolist() == case.step_labels[start : start + 6].tolist()
        for name, values in case.features.items():
            assert np.shares_memory(window.features[name], values)
            np.testing.assert_array_equal(window.features[name], values[start : start + 6])
            np.testing.assert_array_equal(window.masks[name], case.masks[name][start : start + 6])


def test_a_window_without_a_label_at_its_last_step_does_not_count() -> None:
    case = case_of([0, 0, 0, 0, 0, UNLABELLED, 1, 1])
    assert [window.clip_label for window in cut_into_windows([case], WINDOWS)] == [1]


def test_a_short_clip_is_one_window_and_windows_begin_where_something_is() -> None:
    assert [window.steps for window in cut_into_windows([case_of([2] * 4)], WINDOWS)] == [4]
    late = cut_into_windows([case_of([2] * 9, hidden=slice(0, 3))], WINDOWS)
    assert [(window.clip_id[-2:], window.steps) for window in late] == [("@3", 6)]
    assert len(cut_into_windows([case_of([2] * 9, hidden=slice(0, 9))], WINDOWS)) == 0
