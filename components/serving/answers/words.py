"""Scores as sentences for readers without a background in statistics."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from components.contracts.lineage import RECORDED, RENDERED
from components.features.adaptation import MIN_CLIPS, Adaptation
from components.features.recordings import PRIOR_CLIPS
from components.serving.answers.schemas import ModalityDistance

PEOPLE = {RECORDED: "recordings of people", RENDERED: "rendered people"}
TITLES = {"face": "the face", "voice": "the voice", "text": "the words", "physio": "the body"}


def title(modality: str) -> str:
    """The name of a modality in a sentence."""
    return TITLES.get(modality, modality)


def percent(share: float) -> str:
    """A share of 1 as whole percent."""
    return f"{round(100 * share)} %"


def contradiction_words(
    score: float | None,
    pair: tuple[str, str] | None,
    emotions: Mapping[str, tuple[str, float]],
    *,
    threshold: float,
    at_s: float | None = None,
    present: Sequence[str] = (),
) -> str:
    """One sentence on whether the modalities agree.

    Args:
        score: the share of ordinary clips that are less contradictory; None when there is nothing to compare.
        pair: the two modalities furthest apart at the worst moment, `at_s`; None with `score`.
        emotions: modality → (emotion, probability) at that moment.
        threshold: the score that few ordinary clips of unseen people reach, from the version's calibration.
        present: the modalities of the clip.
    """
    if score is None or pair is None:
        if not present:
            return "Nothing could be judged."
        if len(present) == 1:
            return f"Only {title(present[0])} could be judged, so there is nothing to compare."
        return (
            "There is nothing to compare: at no moment do two modalities that the version was trained on have a "
            "prediction of their own."
        )
    both = pair_words(pair, emotions)
    when = "" if at_s is None else f" around {at_s:.1f} s"
    if score >= threshold:
        return (
            f"The modalities contradict each other, most strongly{when}: {both}. "
            f"{percent(score)} of ordinary clips are less contradictory."
        )
    if emotions[pair[0]][0] != emotions[pair[1]][0]:
        return f"The modalities differ, but no more than in many ordinary clips, most strongly{when}: {both}."
    return f"The modalities agree: {both}."


def pair_words(pair: tuple[str, str], emotions: Mapping[str, tuple[str, float]]) -> str:
    """The emotions of two modalities, such as "the face shows anger (80 %), the words show fear (55 %)"."""
    return ", ".join(f"{_shows(name)} {emotions[name][0]} ({percent(emotions[name][1])})" for name in pair)


def outside_words(
    distances: Mapping[str, ModalityDistance], trained_on: Sequence[str], experts: Sequence[str] = ()
) -> str:
    """One sentence on whether the clip is unlike the training data.

    Args:
        distances: of the modalities that are present.
        trained_on: the modalities of the version.
        experts: the modalities that pretrained classifiers judged.
    """
    outside = [modality for modality, distance in distances.items() if distance.outside]
    if not distances and experts:
        titles = " and ".join(title(modality) for modality in experts)
        return (
            f"This version was not trained on {titles}, so how usual the clip is cannot be judged. "
            "Take the answer with caution."
        )
    if not distances:
        titles = ", ".join(title(modality) for modality in trained_on)
        return f"There is no answer: the clip has nothing that this version was trained on ({titles})."
    if not outside:
        return "This clip looks like what the version was trained on."
    parts = ", ".join(
        f"{title(name)} (distance {distances[name].distance:.2f}, usual up to {distances[name].threshold:.2f})"
        for name in outside
    )
    return f"This clip is unlike what the version was trained on: {parts}. Take the answer with caution."


def training_people(corpora: Mapping[str, str]) -> str:
    """Whom a version was trained on, in words.

    Args:
        corpora: dataset → `recorded` or `rendered`, as in a bundle's description; empty gives an empty text.
    """
    parts = [
        f"{people} ({', '.join(names)})"
        for kind, people in PEOPLE.items()
        if (names := sorted(name for name, own in corpora.items() if own == kind))
    ]
    if not parts:
        return ""
    only_rendered = set(corpora.values()) == {RENDERED}
    return " and ".join(parts) + (": no evidence about a real person" if only_rendered else "")


def presence_notes(
    presence: Mapping[str, float],
    unused: Mapping[str, float],
    ready_made: Collection[str] = (),
    unread: Mapping[str, str] | None = None,
) -> list[str]:
    """Notes on what the version could not use.

    Args:
        presence: modality of the version → share of steps that are valid.
        unused: modality that the version was trained without → share of steps in which the clip has it.
        ready_made: the modalities whose features must come with a clip, since none can be made from media.
        unread: modality that the clip has and its encoder does not read → why.
    """
    why = unread or {}
    notes = unread_notes(presence, why)
    notes += [
        f"{modality}: absent from this clip"
        + ("; this version needs its features ready-made" if modality in ready_made else "")
        for modality, share in presence.items()
        if share == 0.0 and modality not in why
    ]
    notes += [
        f"{modality}: present in {percent(share)} of the clip, ignored because this version was trained without it"
        for modality, share in sorted(unused.items())
    ]
    return notes


def unread_notes(modalities: Iterable[str], why: Mapping[str, str]) -> list[str]:
    """Notes on what the encoders of a version's modalities do not read; modality → why."""
    return [f"{modality}: {why[modality]}" for modality in modalities if modality in why]


def expert_notes(experts: Mapping[str, str]) -> list[str]:
    """Notes on modalities that pretrained classifiers judged; modality → what the classifier was trained on."""
    return [
        f"{modality}: judged by the pretrained classifier of its encoder (trained on {trained_on}), because this "
        "version was trained without it"
        for modality, trained_on in sorted(experts.items())
    ]


def adaptation_notes(adaptation: Adaptation | None, present: Sequence[str]) -> list[str]:
    """Notes on the recordings that an answer was adapted to; `present`: modalities of the version in the clip."""
    if adaptation is None:
        return []
    notes = [
        f"standardised by the recordings of {adaptation.words}, "
        f"beside which the training data count as {PRIOR_CLIPS} clips"
    ]
    for modality in present:
        clips = adaptation.modalities[modality].clips if modality in adaptation.modalities else 0
        if clips < MIN_CLIPS:
            counted = f"only {clips}" if clips else "none"
            notes.append(f"{modality}: {counted} of these recordings have it, so the training data count for more")
    return notes


def apart_note(groups: Sequence[Sequence[str]]) -> list[str]:
    """A note on a clip that was read in groups of modalities; none with a single group."""
    if len(groups) < 2:
        return []
    named = " | ".join("+".join(names) for names in groups)
    return [
        f"{named}: judged apart and combined as independent evidence, because this version was not trained on "
        "recordings that have them together"
    ]


def _shows(modality: str) -> str:
    return f"{title(modality)} {'show' if modality == 'text' else 'shows'}"
