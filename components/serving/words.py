"""Scores as sentences for readers without a background in statistics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from components.serving.schemas import ModalityDistance

TITLES = {"face": "the face", "voice": "the voice", "text": "the words", "physio": "the body"}


def title(modality: str) -> str:
    """How a sentence names a modality."""
    return TITLES.get(modality, modality)


def percent(share: float) -> str:
    """A share of 1 as whole percent."""
    return f"{round(100 * share)} %"


def contradiction_words(
    score: float | None,
    pair: tuple[str, str] | None,
    says: Mapping[str, tuple[str, float]],
    *,
    threshold: float,
    at_s: float | None = None,
    present: Sequence[str] = (),
) -> str:
    """One sentence on whether the modalities agree.

    Args:
        score: the share of ordinary clips that are less contradictory; None when there is nothing to compare.
        pair: the two modalities furthest apart at the worst moment, `at_s`; None with `score`.
        says: modality → (emotion, probability) at that moment.
        threshold: the score that few ordinary clips of unseen people reach, from the version's calibration.
        present: the modalities of the clip.
    """
    if score is None or pair is None:
        only = ", ".join(title(modality) for modality in present)
        if len(present) > 1:
            return f"It cannot be told whether {only} agree: never do two of them have an opinion of their own at once."
        return f"Only {only} could be judged, so there is nothing to compare." if only else "Nothing could be judged."
    told = pair_words(pair, says)
    when = "" if at_s is None else f" around {at_s:.1f} s"
    if score >= threshold:
        return f"They contradict each other, most{when}: {told}. Of ordinary clips, {percent(score)} never do as much."
    if says[pair[0]][0] != says[pair[1]][0]:
        return f"They differ no more than in many clips, most{when}: {told}."
    return f"They agree: {told}."


def pair_words(pair: tuple[str, str], says: Mapping[str, tuple[str, float]]) -> str:
    """What two modalities say, such as "the face says anger (80 %), the words say fear (55 %)"."""
    return ", ".join(f"{_says(name)} {says[name][0]} ({percent(says[name][1])})" for name in pair)


def outside_words(distances: Mapping[str, ModalityDistance], trained_on: Sequence[str]) -> str:
    """One sentence on whether the clip is unlike the training data.

    Args:
        distances: of the modalities that are present.
        trained_on: the modalities that the version knows.
    """
    outside = [modality for modality, distance in distances.items() if distance.outside]
    if not distances:
        known = ", ".join(title(modality) for modality in trained_on)
        return f"This version was trained on {known}, and the clip has none of it: there is no answer."
    if not outside:
        return "This clip looks like what the version was trained on."
    parts = ", ".join(
        f"{title(name)} (distance {distances[name].distance:.2f}, usual up to {distances[name].threshold:.2f})"
        for name in outside
    )
    return f"This clip is unlike what the version was trained on: {parts}. Take the answer with caution."


def presence_notes(
    presence: Mapping[str, float], seen_but_unknown: Mapping[str, float], given: Collection[str] = ()
) -> list[str]:
    """Notes on what the version could not use.

    Args:
        presence: modality the version knows → share of steps that are valid.
        seen_but_unknown: modality the version does not know → share of steps in which the clip has it.
        given: the modalities that the version takes ready-made and no media can give.
    """
    notes = [
        f"{modality}: absent from this clip" + (", this version takes it ready-made" if modality in given else "")
        for modality, share in presence.items()
        if share == 0.0
    ]
    notes += [
        f"{modality}: seen in {percent(share)} of the clip, but this version was trained without it: ignored"
        for modality, share in sorted(seen_but_unknown.items())
    ]
    return notes


def _says(modality: str) -> str:
    return f"{title(modality)} {'say' if modality == 'text' else 'says'}"
