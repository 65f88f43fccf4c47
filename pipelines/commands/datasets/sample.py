"""The sample of clips on the preview page, and the data of that page."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.contracts.labels import Taxonomy
from components.contracts.records import AlignedClip, Clip, Quarantined

UNLABELLED = "unlabelled"


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A clip and its outcome: aligned or quarantined."""

    clip: Clip
    aligned: AlignedClip | None = None
    quarantined: Quarantined | None = None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the page shows.

    Attributes:
        clips: all that would be used; quarantined: what was set aside; sampled: the clips that are drawn.
        notes: of the adapter.
        split_of: clip id → split, or why there is none.
        origin: where the data come from, in words; root: the project.
    """

    name: str
    licence: str
    clips: Sequence[Clip]
    quarantined: Sequence[Quarantined]
    notes: Sequence[str]
    sampled: Sequence[Sampled]
    split_of: Mapping[str, str] | str
    classes: Taxonomy
    origin: str
    root: str


def sample(clips: Sequence[Clip], count: int) -> list[Clip]:
    """A fixed sample of a corpus: emotions in turn, and within each emotion people in turn."""
    by_emotion: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in sorted(clips, key=lambda clip: hashlib.sha256(clip.clip_id.encode()).hexdigest()):
        by_emotion[emotion_of(clip)][clip.subject_id].append(clip)
    queues = [list(_in_turn(list(people.values()))) for _, people in sorted(by_emotion.items())]
    return list(_in_turn(queues))[:count]


def _in_turn(queues: Sequence[Sequence[Clip]]) -> Iterator[Clip]:
    for place in range(max(map(len, queues), default=0)):
        yield from (queue[place] for queue in queues if place < len(queue))


def emotion_of(clip: Clip) -> str:
    """The clip's emotion, or the one that lasts longest in it."""
    if clip.emotion is not None:
        return clip.emotion
    lasting: Counter[str] = Counter()
    for segment in clip.segments:
        lasting[segment.emotion] += round((segment.end_s - segment.start_s) * 1000)
    return lasting.most_common(1)[0][0] if lasting else UNLABELLED
