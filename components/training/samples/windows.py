"""Training clips cut into windows, each a clip of its own with the label of its last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from components.catalog.case_labels import LabelsGathered
from components.catalog.cases import Case, CasesOnDisk
from components.contracts.labels import UNLABELLED
from components.model.published.windows import Windows
from components.runtime.on_demand import at_once_of
from components.training.samples.items import cut


def cut_into_windows(cases: Sequence[Case], windows: Windows) -> Sequence[Case]:
    """The windows of clips in their order, without those whose last step has no label.

    Each is cut when it is asked for; its arrays are views of its clip's, so windows that overlap cost no memory. Which
    there are takes a pass over the clips; of clips on disk each window reads its whole clip.
    """
    spans: list[tuple[int, int, int]] = []
    gathered = LabelsGathered()
    for clip, case in enumerate(cases):
        valid = np.flatnonzero(case.valid)
        for start, end in windows.spans(int(valid[0]), int(valid[-1]) + 1) if valid.size else []:
            if (label := int(case.step_labels[end - 1])) != UNLABELLED:
                gathered.add(
                    len(spans),
                    dataset=case.dataset,
                    clip_label=label,
                    step_labels=case.step_labels[start:end],
                    valence_arousal=case.valence_arousal,
                )
                spans.append((clip, start, end))
    spans_N3 = np.array(spans, dtype=np.int64).reshape(-1, 3)

    def window(number: int) -> Case:
        clip, start, end = spans_N3[number].tolist()
        case = cases[clip]
        label = int(case.step_labels[end - 1])
        return replace(cut(case, start, end - start), clip_id=f"{case.clip_id}@{start}", clip_label=label)

    return CasesOnDisk(window, gathered.labels(), at_once=at_once_of(cases))
