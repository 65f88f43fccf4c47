"""Training clips cut into windows, each a clip of its own with the label of its last step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from components.catalog.cases import Case
from components.contracts.labels import UNLABELLED
from components.model.windows import Windows
from components.training.items import cut


def cut_into_windows(cases: Iterable[Case], windows: Windows) -> list[Case]:
    """The windows of clips in their order, without those whose last step has no label.

    The arrays of a window are views of its clip's, so windows that overlap cost no memory.
    """
    cut_windows = []
    for case in cases:
        valid = np.flatnonzero(case.valid)
        for start, end in windows.spans(int(valid[0]), int(valid[-1]) + 1) if valid.size else []:
            label = int(case.step_labels[end - 1])
            if label != UNLABELLED:
                window = cut(case, start, end - start)
                cut_windows.append(replace(window, clip_id=f"{case.clip_id}@{start}", clip_label=label))
    return cut_windows
