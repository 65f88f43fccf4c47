"""Whether the answer names the modality that turned first and the one that the change rests on.

    python -m bench.studies.which_modality PROJECT [LAG_S [CLIPS]]

PROJECT was run to its end. Transitions are planted in the features of clips of people whom the model did not learn from
(calibration and test): two clips of one person with different labels are joined after 1.5 s of the first. Either one
modality turns there and the others LAG_S (0.5) later, or one modality stays with the first clip while the others turn.
CLIPS (200) is the most pairs that are joined.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, permutations
from pathlib import Path

import numpy as np

from components.catalog.cases import Case, prepare
from components.catalog.examples import load_examples
from components.contracts.atomic import read_json
from components.contracts.layout import Layout
from components.inference.attribution import Reasons, leave_one_out
from components.inference.episodes import Decoder, find_episodes, transitions
from components.inference.scoring import Scorer
from components.registry.bundle import load_bundle

TURN_S, REST_S = 1.5, 2.0
CHANGING = ("transition", "flash", "contradiction")
MOST = 0.5  # of a clip
NEAR_S = 1.0  # a transition this far from where one was planted is that one
NOT_MOVED = "no such transition"
TOGETHER = "several together"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often each modality was named, by the one that was right."""

    first: Counter[tuple[str, str]] = field(default_factory=Counter)
    most_of_still: Counter[tuple[str, str]] = field(default_factory=Counter)


def pairs(cases: Sequence[Case]) -> Iterator[tuple[Case, Case]]:
    """Two clips of one person with different labels, each long enough and of one emotion throughout, and with at least
    two modalities that both have."""
    usable = [
        case
        for case in cases
        if case.steps / case.rate_hz >= TURN_S + REST_S and not any(case.has_planted(kind) for kind in CHANGING)
    ]
    for one, other in permutations(usable, 2):
        if one.subject_id == other.subject_id and one.clip_label != other.clip_label and len(shared(one, other)) > 1:
            yield one, other


def shared(one: Case, other: Case) -> list[str]:
    """The modalities that are there for most of both clips."""
    return [name for name in one.present if min(case.masks[name].mean() for case in (one, other)) > MOST]


def joined(one: Case, other: Case, turns_s: Mapping[str, float | None]) -> Case:
    """`one`, and from `turns_s` on `other`, by modality; None: it stays with `one`. Others are left out."""
    steps = round((TURN_S + REST_S) * one.rate_hz)
    features, masks = {}, {}
    for name, turn_s in turns_s.items():
        later = np.arange(steps) >= (steps if turn_s is None else round(turn_s * one.rate_hz))
        mine, theirs = one.features[name][:steps], other.features[name][:steps]
        features[name] = np.where(later[:, None], theirs, mine)
        masks[name] = np.where(later, other.masks[name][:steps], one.masks[name][:steps])
    return replace(one, features=features, masks=masks)


def reasons(case: Case, scorer: Scorer, decoder: Decoder) -> Reasons | None:
    """What the planted transition rests on; None where the answer has none there."""
    classes = scorer.model.spec.classes
    own = scorer.score(case.features, case.masks)
    episodes = find_episodes(own.step_posterior, case.valid, classes, case.rate_hz, decoder)
    left_out = leave_one_out(scorer, own, case.features, case.masks, {})
    changes = zip(transitions(episodes), left_out.of_transitions(episodes), strict=True)
    return next((why for change, why in changes if abs(change.at_s - TURN_S) <= NEAR_S), None)


def tallied(cases: Sequence[Case], scorer: Scorer, decoder: Decoder, *, lag_s: float, most: int) -> Tally:
    """What was named in up to `most` pairs; every modality of a pair turns first once, and stays behind once."""
    tally = Tally()
    for one, other in islice(pairs(cases), most):
        for name in (names := shared(one, other)):
            turns = {own: TURN_S if own == name else TURN_S + lag_s for own in names}
            why = reasons(joined(one, other, turns), scorer, decoder)
            tally.first[name, NOT_MOVED if why is None else why.first or TOGETHER] += 1
            still: dict[str, float | None] = {own: None if own == name else TURN_S for own in names}
            why = reasons(joined(one, other, still), scorer, decoder)
            tally.most_of_still[name, NOT_MOVED if why is None else why.most or TOGETHER] += 1
    return tally


def table(counts: Mapping[tuple[str, str], int], *, right_is_it: bool) -> str:
    """A row per modality: how often it, another, several or none were named."""
    lines = ["| modality | planted | with a transition | itself | another | several |", "|---|---|---|---|---|---|"]
    for name in sorted({name for name, _ in counts}):
        own = {said: count for (of, said), count in counts.items() if of == name}
        total, itself, several = sum(own.values()), own.get(name, 0), own.get(TOGETHER, 0)
        moved = total - own.get(NOT_MOVED, 0)
        cells = [total, moved, itself, moved - itself - several, several]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    right = sum(count for (name, said), count in counts.items() if said == name)
    named = sum(count for (_, said), count in counts.items() if said not in (NOT_MOVED, TOGETHER))
    share = right / named if right_is_it else 1 - right / named
    return "\n".join([*lines, "", f"Of {named} that name one, {share:.3f} are right."])


def main(arguments: Sequence[str]) -> int:
    """Prints both tables as Markdown."""
    layout = Layout(Path(arguments[0]))
    lag_s, most = float(arguments[1]) if arguments[1:] else 0.5, int(arguments[2]) if arguments[2:] else 200
    bundle = load_bundle(layout.state / "bundles" / read_json(layout.registered / "registered.json")["bundle_sha256"])
    examples = [example for split in ("calibration", "test") for example in load_examples(layout, split)]
    cases = prepare(examples, bundle.transform)
    print(f"{len(list(pairs(cases)))} pairs of clips of {len({case.subject_id for case in cases})} people\n")
    tally = tallied(cases, bundle.scorer(), bundle.smoother, lag_s=lag_s, most=most)
    print(f"One turns first, the others {lag_s:g} s later: which is named as the first\n")
    print(table(tally.first, right_is_it=True))
    print("\nOne does not turn: which is named as the one that counts most (it should be another)\n")
    print(table(tally.most_of_still, right_is_it=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
