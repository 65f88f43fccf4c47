"""Scores as sentences for a person who knows nothing of distances and divergences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.serving.schemas import ModalityDistance, ModalityView

# Below this share of the version's own threshold two views that name the same emotion are called agreement.
AGREE_SHARE = 0.5

TITLES = {"face": "the face", "voice": "the voice", "text": "the words", "physio": "the body"}


def title(modality: str) -> str:
    """How a sentence names a modality."""
    return TITLES.get(modality, modality)


def percent(share: float) -> str:
    """A share of 1 as whole percent."""
    return f"{round(100 * share)} %"


def contradiction_words(
    score: float, pair: tuple[str, str] | None, views: Mapping[str, ModalityView], *, threshold: float
) -> str:
    """One sentence on whether the modalities agree.

    Args:
        score: 0 (agree) to 1.
        pair: the two modalities furthest apart, or None when there are fewer than two.
        views: each present modality's own view.
        threshold: the score that few ordinary clips of unseen people reach, from the version's calibration.
    """
    if pair is None or any(modality not in views for modality in pair):
        only = ", ".join(title(modality) for modality in views)
        return f"Only {only} could be judged, so there is nothing to compare." if only else "Nothing could be judged."
    first, second = pair
    says = (
        f"{_says(first)} {views[first].emotion} ({percent(views[first].confidence)}), "
        f"{_says(second)} {views[second].emotion} ({percent(views[second].confidence)})"
    )
    if score >= threshold:
        return f"They contradict each other: {says}."
    if score >= AGREE_SHARE * threshold or views[first].emotion != views[second].emotion:
        return f"They agree only in part: {says}."
    return f"They agree: {says}."


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


def presence_notes(presence: Mapping[str, float], seen_but_unknown: Mapping[str, float]) -> list[str]:
    """Notes on what the version could not use.

    Args:
        presence: modality the version knows → share of steps that are valid.
        seen_but_unknown: modality the version does not know → share of steps in which the clip has it.
    """
    notes = [f"{modality}: absent from this clip" for modality, share in presence.items() if share == 0.0]
    notes += [
        f"{modality}: seen in {percent(share)} of the clip, but this version was trained without it: ignored"
        for modality, share in sorted(seen_but_unknown.items())
    ]
    return notes


def _says(modality: str) -> str:
    return f"{title(modality)} {'say' if modality == 'text' else 'says'}"
