from __future__ import annotations

from components.contracts.records import Word
from components.inference.attribution import Contribution, Reasons
from components.serving.answers.reasons import MAX_WORDS, spoken, why_episodes, why_transitions
from components.serving.answers.schemas import EpisodeView, Transition

EPISODE = EpisodeView(onset_s=1.0, offset_s=3.0, emotion="anger", intensity=0.8, kind="sustained")
CHANGE = Transition(at_s=1.0, before="neutral", after="anger")
SAID = (Word(text="we", start_s=0.0, end_s=0.4), Word(text="won", start_s=2.0, end_s=2.5))


def words_of(probability: float, **by_modality: Contribution) -> tuple[str, str]:
    reasons = Reasons(probability=probability, by_modality=by_modality)
    (episode,), (change,) = why_episodes([EPISODE], [reasons], []), why_transitions([CHANGE], [reasons], [])
    assert episode.why is not None
    assert change.why is not None
    return episode.why.words, change.why.words


def test_it_says_what_came_first_and_what_counts_most() -> None:
    voice = Contribution(change=0.6, turned_at_s=0.7, instead="neutral")
    face = Contribution(change=0.02, turned_at_s=1.2, instead="anger")
    assert words_of(0.8, face=face, voice=voice) == (
        "The voice turned first, at 0.7 s. It rests most on the voice: without it anger would have 20 % instead of "
        "80 %, and the answer neutral.",
        "The voice turned first, at 0.7 s. It rests most on the voice: without it anger would rise by 20 % instead of "
        "rising by 80 %.",
    )
    falling = Contribution(change=0.9, turned_at_s=0.7)
    assert words_of(0.8, face=face, voice=falling)[1].endswith("anger would not rise instead of rising by 80 %.")


def test_it_says_where_nothing_stands_out() -> None:
    alike = {name: Contribution(change=0.01, turned_at_s=1.0) for name in ("face", "voice")}
    assert words_of(0.8, **alike) == (
        "Several modalities turned together. Without any one modality it would be anger all the same.",
        "Several modalities turned together. Without any one modality the change would be much the same.",
    )
    assert words_of(0.8, face=Contribution(change=0.7))[0] == "It rests on the face alone."


def test_the_words_are_those_around_it() -> None:
    assert spoken(SAID, 1.0, 3.0) == "won"
    assert spoken(SAID, 3.0, 4.0) is None
    many = [Word(text=str(n), start_s=float(n), end_s=n + 0.5) for n in range(2 * MAX_WORDS)]
    shown = spoken(many, 0.0, 100.0)
    assert shown is not None
    assert shown.split() == [*map(str, range(MAX_WORDS)), "…"]
    reasons = Reasons(probability=0.8, by_modality={"face": Contribution(change=0.7)})
    (change,) = why_transitions([CHANGE], [reasons], SAID)
    assert change.why is not None
    assert (change.why.spoken, change.why.words) == ("we won", "It rests on the face alone. Said meanwhile: “we won”.")
