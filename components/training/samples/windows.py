"""Training clips cut into windows, each a clip of its own with the label of its last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from components.catalog.cases import Case
from components.contracts.labels import UNLABELLED
from components.model.published.windows import Windows
from components.runtime.on_demand import OnDemand
from components.training.samples.items import cut


def cut_into_windows(cases: Sequence[Case], windows: Windows) -> Sequence[Case]:
    """The windows of clips in their order, without those whose last step has no label.

    Each is cut when it is asked for; its arrays are views of its clip's, so windows that overlap cost no memory. Of
    clips on disk each window reads its whole clip.
    """
    spans = []
    for clip, case in enumerate(cases):
        valid = np.flatnonzero(case.valid)
        for start, end in windows.spans(int(valid[0]), int(valid[-1]) + 1) if valid.size else []:
            if int(case.step_labels[end - 1]) != UNLABELLED:
                spans.append((clip, start, end))
    spans_N3 = np.array(spans, dtype=np.int64).reshape(-1, 3)

    def window(number: int) -> Case:
        clip, start, end = spans_N3[number].tolist()
        case = cases[clip]
        label = int(case.step_labels[end - 1])
        return replace(cut(case, start, end - start), clip_id=f"{case.clip_id}@{start}", clip_label=label)

    return OnDemand(window, np.arange(len(spans_N3)))
