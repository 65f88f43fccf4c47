"""Which modalities a version was trained to read together, and how it reads a clip that has others together.

Attention between two modalities that no training clip had at once was never trained, whereas each of them was. A
union of corpora is like that: photographs without a voice, recordings of voices without a face. Such a clip is read
in groups of modalities that were trained together, and the groups' posteriors are multiplied, as independent experts
with equal priors are (Hinton, Neural Computation 14, 2002, eq. 1). On rendered people it costs nothing and is better
calibrated (docs/benchmarks/synthetic.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

Combination = tuple[str, ...]
# A combination counts as trained from this share on of the clips that have its rarest modality.
SHARE = 0.05


def trained_together(clips: Iterable[Combination]) -> tuple[Combination, ...]:
    """The largest combinations of modalities that were trained on together.

    Args:
        clips: the modalities that each training clip has.

    Returns:
        combinations, each in the order of the names, none of which is part of a different one. Empty where all
        modalities were trained on together, so that every combination was.
    """
    counts = Counter(frozenset(clip) for clip in clips if clip)
    every = frozenset().union(*counts)
    having = {name: sum(count for clip, count in counts.items() if name in clip) for name in every}
    trained = [
        combination
        for combination in counts
        if sum(count for clip, count in counts.items() if clip >= combination)
        >= SHARE * min(having[name] for name in combination)
    ]
    largest = [one for one in trained if not any(one < other for other in trained)]
    return () if every in largest else tuple(sorted(tuple(sorted(one)) for one in largest))


def groups_of(present: Sequence[str], together: Sequence[Combination]) -> tuple[Combination, ...]:
    """The modalities of a clip, in groups that were trained together: the largest group first, each modality in one.

    Args:
        together: of `trained_together`; empty where every combination was trained on.
    """
    if not present or not together or any(set(present) <= set(combination) for combination in together):
        return (tuple(present),) if present else ()
    groups, left = [], set(present)
    while left:
        shared = [left & set(combination) for combination in together]
        # A modality that is in no combination stands alone.
        largest = min(shared, key=lambda names: (-len(names), sorted(names))) or {min(left)}
        groups.append(tuple(name for name in present if name in largest))
        left -= largest
    return tuple(groups)
