"""What an episode or a transition rests on, as a part of the answer: figures, a sentence, and the words around it."""

from __future__ import annotations

from collections.abc import Sequence

from components.contracts.records import Word
from components.inference.attribution import Reasons
from components.serving.answers.schemas import EpisodeView, ModalityReason, Transition, Why
from components.serving.answers.words import percent, title

# The words said this long before and after a transition are around it.
AROUND_S = 1.5
MAX_WORDS = 12


def why_episodes(
    episodes: Sequence[EpisodeView], reasons: Sequence[Reasons], words: Sequence[Word]
) -> tuple[EpisodeView, ...]:
    """The episodes with what each rests on; the words are those said in it."""
    return tuple(
        view.model_copy(
            update={"why": _why(own, _episode_words(own, view.emotion), spoken(words, view.onset_s, view.offset_s))}
        )
        for view, own in zip(episodes, reasons, strict=True)
    )


def why_transitions(
    changes: Sequence[Transition], reasons: Sequence[Reasons], words: Sequence[Word]
) -> tuple[Transition, ...]:
    """The transitions with what each rests on; the words are those said around it."""
    return tuple(
        change.model_copy(
            update={
                "why": _why(
                    own,
                    _transition_words(own, change.after),
                    spoken(words, change.at_s - AROUND_S, change.at_s + AROUND_S),
                )
            }
        )
        for change, own in zip(changes, reasons, strict=True)
    )


def spoken(words: Sequence[Word], start_s: float, end_s: float) -> str | None:
    """The words that overlap `[start_s, end_s)`, at most `MAX_WORDS` of them; None without any."""
    texts = [word.text for word in words if word.start_s < end_s and word.end_s > start_s]
    return " ".join([*texts[:MAX_WORDS], *(["…"] if len(texts) > MAX_WORDS else [])]) or None


def _why(reasons: Reasons, sentences: Sequence[str], said: str | None) -> Why:
    return Why(
        first=reasons.first,
        most=reasons.most,
        modalities={
            name: ModalityReason(change=own.change, turned_at_s=own.turned_at_s, instead=own.instead)
            for name, own in reasons.by_modality.items()
        },
        spoken=said,
        words=" ".join([*sentences, *([f"Said meanwhile: “{said}”."] if said else [])]),
    )


def _episode_words(reasons: Reasons, emotion: str) -> list[str]:
    sentences = _first_words(reasons)
    most = reasons.most
    if len(reasons.by_modality) == 1:
        return [*sentences, f"It rests on {title(*reasons.by_modality)} alone."]
    if most is None:
        return [*sentences, f"Without any one modality it would be {emotion} all the same."]
    own = reasons.by_modality[most]
    without = percent(max(0.0, reasons.probability - own.change))
    instead = f", and the answer {own.instead}" if own.instead not in (None, emotion) else ""
    return [
        *sentences,
        f"It rests most on {title(most)}: without it {emotion} would have {without} instead of "
        f"{percent(reasons.probability)}{instead}.",
    ]


def _transition_words(reasons: Reasons, emotion: str) -> list[str]:
    sentences = _first_words(reasons)
    most = reasons.most
    if len(reasons.by_modality) == 1:
        return [*sentences, f"It rests on {title(*reasons.by_modality)} alone."]
    if most is None:
        return [*sentences, "Without any one modality the change would be much the same."]
    rest = reasons.probability - reasons.by_modality[most].change
    without = f"rise by {percent(rest)}" if rest > 0 else "not rise"
    return [
        *sentences,
        f"It rests most on {title(most)}: without it {emotion} would {without} instead of rising by "
        f"{percent(max(0.0, reasons.probability))}.",
    ]


def _first_words(reasons: Reasons) -> list[str]:
    """Which modality turned first, where any did."""
    turned = {name: own.turned_at_s for name, own in reasons.by_modality.items() if own.turned_at_s is not None}
    if reasons.first is not None and len(turned) > 1:
        name = title(reasons.first)
        return [f"{name[0].upper()}{name[1:]} turned first, at {turned[reasons.first]:.1f} s."]
    if len(turned) > 1:
        return ["Several modalities turned together."]
    return []
