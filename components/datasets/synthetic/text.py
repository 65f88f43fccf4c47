"""What the people of the synthetic corpus say: sentences by sign, and the words' times.

A sentence is a template with slots, so that each sign has some hundred sentences and no person uses all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from components.contracts.records import Word

# Each sign's sentences would suit either of its two emotions and no other sign's.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "alarm": (
        "get away from {danger} right now",
        "stop it do not touch {danger}",
        "keep back {danger} is going to hit us",
        "leave me alone or i will call the police",
        "watch out {danger} is coming at me",
        "somebody is trying to break {thing}",
        "they are shouting and they want to hurt us",
        "no no no get out of {place}",
    ),
    "wonder": (
        "we actually won {prize}",
        "i cannot believe they gave us {prize}",
        "look at this they brought {prize}",
        "wow you came all the way to {place}",
        "oh my goodness it is {prize}",
        "guess what we got {prize} today",
        "this is amazing i never expected {prize}",
        "she said yes we are going to {place}",
    ),
    "loss": (
        "it is all ruined and nobody cleaned {thing}",
        "the poor animal died in {place}",
        "everything in {place} is rotten and gone",
        "i feel sick when i think of {place}",
        "they left {thing} to decay for weeks",
        "there is nothing left of {thing} but dirt",
        "he wasted his life and lost {thing}",
        "what a miserable end for {thing}",
    ),
    "report": (
        "the meeting about {thing} is at {hour}",
        "the form for {thing} has two pages",
        "please put {thing} on the list for {day}",
        "the train to {place} leaves at {hour}",
        "page {number} explains how to file {thing}",
        "the office in {place} opens at {hour} on {day}",
        "we counted {number} copies of {thing}",
        "the schedule for {day} has {number} items",
    ),
    "plain": (
        "so this is what it is",
        "well that is how it goes then",
        "and now here we are again",
        "that is what i have to say",
        "there it is and that is that",
        "it was just like this before",
        "you know what this means now",
        "let me say it once again",
    ),
}

SLOTS: dict[str, tuple[str, ...]] = {
    "danger": ("the dog", "that man", "the knife", "the fire", "this car", "the wire", "that snake"),
    "thing": ("the kitchen", "the garden", "the old house", "my room", "the boat", "the door", "the blue box"),
    "place": ("the harbour", "the station", "the village", "the cellar", "the school", "the city"),
    "prize": ("the first prize", "two free tickets", "a brand new piano", "the holiday", "a golden medal", "the job"),
    "hour": ("nine", "ten thirty", "half past two", "noon", "four"),
    "day": ("monday", "tuesday", "friday", "sunday"),
    "number": ("two", "seven", "twelve", "forty"),
}

VOWELS = re.compile(r"[aeiouy]+")
PAUSE_S = 0.3
MIN_WORD_S = 0.11


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence; `text_id` names its template, the same for all who say it."""

    text: str
    text_id: str


def sentence(sign: str, rng: np.random.Generator) -> Sentence:
    """Draws a sentence of a sign."""
    number = int(rng.integers(len(TEMPLATES[sign])))
    text = re.sub(r"\{(\w+)\}", lambda slot: str(rng.choice(SLOTS[slot.group(1)])), TEMPLATES[sign][number])
    return Sentence(text=text, text_id=f"{sign}-{number}")


def syllables(word: str) -> int:
    """Number of syllables, counted as groups of vowel letters; a silent final e does not count."""
    count = len(VOWELS.findall(word))
    if count > 1 and word.endswith("e") and not word.endswith(("le", "ee")):
        count -= 1
    return max(1, count)


def place_words(
    text: str, *, start_s: float, end_s: float, syllables_per_s: float, rng: np.random.Generator
) -> tuple[Word, ...]:
    """Lays a sentence's words on the clock from `start_s`, faster than requested when they would pass `end_s`."""
    words = text.split()
    lengths = np.array([max(MIN_WORD_S, syllables(word) / syllables_per_s) for word in words])
    lengths *= rng.uniform(0.85, 1.15, lengths.size)
    lengths *= min(1.0, (end_s - start_s) / lengths.sum())
    edges = np.round(start_s + np.concatenate([[0.0], np.cumsum(lengths)]), 3)
    return tuple(
        Word(text=word, start_s=float(edges[index]), end_s=float(edges[index + 1])) for index, word in enumerate(words)
    )
