"""What every clip of the synthetic corpus contains: a pure function of (seed, subject, clip), before any rendering.

A plan holds the labels, what each modality will show, the words with their times and every planted flaw. It is plain
JSON, and its fingerprint names the rendered files: an equal plan is never rendered twice. A subject's plans do not
depend on how many subjects there are, so a larger corpus contains the smaller one.

Labels of clips whose parts disagree:

* *transition*: two emotions, each a segment; the clip's own label is the longer one (at least 58 % of the time).
* *flash*: 0.3–0.6 s of a different emotion in face and voice, twice per clip; each is a segment of its own, while the
  clip keeps the label of the mood. A flash begins with a word where one begins nearby, so that it is audible as well as
  visible.
* *contradiction*: the face shows a different emotion, throughout in about half of such clips and for 1.6–2.6 s in the
  rest. Voice, words and physiology agree, and they are the label: a facial expression is the easiest to fake
  (Ekman & Friesen 1969, "Nonverbal leakage"). `Planted.emotion` is the face's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from components.contracts.fingerprint import fingerprint
from components.contracts.records import Planted, Segment, Word
from components.datasets.synthetic.signs import EMOTIONS, FLASHES, PLAIN_SHARE, SIGNS
from components.datasets.synthetic.text import PAUSE_S, place_words, sentence, syllables

# Raise when the renderer changes its pictures or sound for an equal plan: every clip is rendered anew.
RENDERER = 2

# One row of scenarios is dealt to each subject, shifted by five a subject, so that all of them occur early on.
SCENARIOS: tuple[str, ...] = (
    "steady",
    "transition",
    "steady",
    "flash",
    "contradiction",
    "flash",
    "missing",
    "variable_frame_rate",
    "transition",
    "contradiction",
    "late_audio",
    "flash",
    "corrupted",
    "flash",
    "contradiction",
    "missing",
)
SCENARIO_SHIFT = 5
MISSING: tuple[str, ...] = ("no_sound", "no_words", "no_picture", "no_physio", "silent_sound", "nobody_in_picture")
CORRUPTED: tuple[str, ...] = ("drowned_sound", "broken_packets", "covered_camera", "sound_dropout")
# The modality each of them takes away.
MODALITY_OF = {
    "no_sound": "voice",
    "silent_sound": "voice",
    "no_picture": "face",
    "nobody_in_picture": "face",
    "no_words": "text",
    "no_physio": "physio",
    "drowned_sound": "voice",
    "sound_dropout": "voice",
    "broken_packets": "face",
    "covered_camera": "face",
}

GENDERS = ("female", "male")
AGE_BANDS = ("18-29", "30-49", "50-69")
FRAME_RATES_HZ = (15, 20, 24, 25)
SYLLABLES_PER_S = {"flat": 4.2, "forceful": 4.8, "lively": 4.7, "thin": 3.7}
# Where a clip's flashes begin, as shares of it: far enough apart for the mood between them to last a second.
FLASH_PLACES: tuple[tuple[float, float], ...] = ((0.18, 0.3), (0.63, 0.78))
FLASH_LASTS_S = (0.3, 0.6)
FIRST_WORD_S = 0.2
LAST_WORD_GAP_S = 0.15
# A further sentence is begun when this much time is left and it need not be hurried more than this.
MIN_STRETCH_S = 0.8
HURRY = 1.35

# Purposes keep the streams of random numbers apart: changing one thing leaves the others as they were.
SUBJECT, CONTENT, FACE, VOICE, PHYSIO, MEDIA = range(6)


@dataclass(frozen=True, kw_only=True)
class DisplayPart:
    """What one modality shows over `[start_s, end_s)`; a brief part starts and ends at once, others fade."""

    start_s: float
    end_s: float
    emotion: str
    brief: bool = False


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """One clip before it is rendered.

    `shown`, `voiced` and `felt` are what face, voice and physiology follow; `segments` is the truth. `flaw` is one of
    MISSING or CORRUPTED, over `[flaw_start_s, flaw_end_s)`.
    """

    renderer: int
    seed: int
    subject: int
    clip: int
    gender: str
    age_band: str
    duration_s: float
    picture_px: int
    frame_rate_hz: int
    variable_rate: bool
    audio_start_s: float
    intensity: float
    emotion: str
    segments: tuple[Segment, ...]
    shown: tuple[DisplayPart, ...]
    voiced: tuple[DisplayPart, ...]
    felt: tuple[DisplayPart, ...]
    words: tuple[Word, ...]
    text_id: str
    flaw: str | None
    flaw_start_s: float
    flaw_end_s: float
    planted: tuple[Planted, ...]

    @property
    def name(self) -> str:
        """The clip's name in the corpus, from its place in the seed's world and never from a count."""
        return f"s{self.subject:03d}_c{self.clip:02d}"

    @property
    def file_stem(self) -> str:
        """The name of its files: an equal plan has equal files."""
        return f"{self.name}-{fingerprint(self.to_json())[:12]}"

    def to_json(self) -> dict[str, Any]:
        """The plan as a JSON value."""
        return asdict(self)

    def rng(self, purpose: int) -> np.random.Generator:
        """The clip's own stream of random numbers for one purpose."""
        return np.random.default_rng([self.seed, self.subject, self.clip, purpose])

    def subject_rng(self, purpose: int) -> np.random.Generator:
        """A stream that is the same in every clip of this person: their face, their voice, their heart."""
        return np.random.default_rng([self.seed, self.subject, 1_000_003, purpose])


def plan_corpus(*, seed: int, subjects: int, clips_per_subject: int, picture_px: int) -> list[ClipPlan]:
    """The plans of a whole corpus, in order of their names."""
    return [
        plan_clip(seed=seed, subject=subject, clip=clip, picture_px=picture_px)
        for subject in range(subjects)
        for clip in range(clips_per_subject)
    ]


def plan_clip(*, seed: int, subject: int, clip: int, picture_px: int) -> ClipPlan:
    """The plan of one clip."""
    rng = np.random.default_rng([seed, subject, clip, CONTENT])
    person = np.random.default_rng([seed, subject, 1_000_003, SUBJECT])
    emotions = [EMOTIONS[index] for index in person.permutation(len(EMOTIONS))]
    emotion = emotions[clip % len(EMOTIONS)]
    scenario = SCENARIOS[(SCENARIO_SHIFT * subject + clip) % len(SCENARIOS)]
    longest_first = scenario in ("transition", "flash")
    duration_s = round(float(rng.uniform(5.0, 6.0) if longest_first else rng.uniform(4.0, 5.6)), 1)
    steady = (DisplayPart(start_s=0.0, end_s=duration_s, emotion=emotion),)
    plan = ClipPlan(
        renderer=RENDERER,
        seed=seed,
        subject=subject,
        clip=clip,
        gender=GENDERS[subject % 2],
        age_band=AGE_BANDS[(subject // 2) % 3],
        duration_s=duration_s,
        picture_px=picture_px,
        frame_rate_hz=int(rng.choice(FRAME_RATES_HZ)),
        variable_rate=scenario == "variable_frame_rate",
        audio_start_s=0.0,
        intensity=round(float(rng.uniform(0.6, 1.0)), 3),
        emotion=emotion,
        segments=(),
        shown=steady,
        voiced=steady,
        felt=steady,
        words=(),
        text_id="",
        flaw=None,
        flaw_start_s=0.0,
        flaw_end_s=duration_s,
        planted=(),
    )
    plan = _PLANTERS[scenario](plan, rng)
    if not plan.segments:
        plan = replace(plan, segments=_segments(plan.voiced))
    return plan if plan.words else _with_words(plan, rng)


def _segments(parts: tuple[DisplayPart, ...]) -> tuple[Segment, ...]:
    return tuple(Segment(start_s=part.start_s, end_s=part.end_s, emotion=part.emotion) for part in parts)


def _unlike(emotion: str, choices: tuple[str, ...], rng: np.random.Generator) -> str:
    """A different emotion whose face and voice both differ, so that the change can be seen and heard."""
    own = SIGNS[emotion]
    mirrored = own.face in ("brows_then_smile", "smile_then_brows")
    fit = [
        other
        for other in choices
        if SIGNS[other].face != own.face
        and SIGNS[other].voice != own.voice
        and not (mirrored and SIGNS[other].face in ("brows_then_smile", "smile_then_brows"))
    ]
    return str(rng.choice(fit))


def _steady(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    return plan


def _transition(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    second = _unlike(plan.emotion, EMOTIONS, rng)
    main_first = bool(rng.random() < 0.5)
    share = float(rng.uniform(0.58, 0.64))
    turn_s = round(plan.duration_s * (share if main_first else 1.0 - share), 2)
    order = (plan.emotion, second) if main_first else (second, plan.emotion)
    parts = (
        DisplayPart(start_s=0.0, end_s=turn_s, emotion=order[0]),
        DisplayPart(start_s=turn_s, end_s=plan.duration_s, emotion=order[1]),
    )
    planted = Planted(kind="transition", start_s=turn_s, end_s=plan.duration_s, emotion=order[1])
    return replace(plan, shown=parts, voiced=parts, felt=parts, planted=(planted,))


def _flash(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    plan = _with_words(plan, rng)
    parts: list[DisplayPart] = []
    now_s = 0.0
    for place in FLASH_PLACES:
        first_s, last_s = (share * plan.duration_s for share in place)
        wanted_s = float(rng.uniform(first_s, last_s))
        starts = [word.start_s for word in plan.words if first_s <= word.start_s < last_s] or [wanted_s]
        start_s = round(starts[int(np.abs(np.subtract(starts, wanted_s)).argmin())], 2)
        end_s = round(start_s + float(rng.uniform(*FLASH_LASTS_S)), 2)
        parts.append(DisplayPart(start_s=now_s, end_s=start_s, emotion=plan.emotion))
        parts.append(DisplayPart(start_s=start_s, end_s=end_s, emotion=_unlike(plan.emotion, FLASHES, rng), brief=True))
        now_s = end_s
    shown = (*parts, DisplayPart(start_s=now_s, end_s=plan.duration_s, emotion=plan.emotion))
    planted = tuple(
        Planted(kind="flash", start_s=part.start_s, end_s=part.end_s, emotion=part.emotion)
        for part in shown
        if part.brief
    )
    return replace(plan, shown=shown, voiced=shown, planted=planted)


def _contradiction(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    mask = _unlike(plan.emotion, EMOTIONS, rng)
    start_s, end_s = 0.0, plan.duration_s
    if rng.random() < 0.5:
        length_s = float(rng.uniform(1.6, 2.6))
        start_s = round(float(rng.uniform(0.6, plan.duration_s - length_s - 0.6)), 2)
        end_s = round(start_s + length_s, 2)
    planted = Planted(kind="contradiction", modality="face", start_s=start_s, end_s=end_s, emotion=mask)
    around = (
        DisplayPart(start_s=0.0, end_s=start_s, emotion=plan.emotion),
        DisplayPart(start_s=start_s, end_s=end_s, emotion=mask),
        DisplayPart(start_s=end_s, end_s=plan.duration_s, emotion=plan.emotion),
    )
    shown = tuple(part for part in around if part.end_s > part.start_s)
    return replace(plan, shown=shown, intensity=1.0, planted=(planted,))


def _missing(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    return _flawed(plan, "missing", MISSING[plan.subject % len(MISSING)], 0.0, plan.duration_s)


def _corrupted(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    flaw = CORRUPTED[plan.subject % len(CORRUPTED)]
    if flaw == "drowned_sound":
        return _flawed(plan, "corrupted", flaw, 0.0, plan.duration_s)
    start_s = round(float(plan.duration_s * rng.uniform(0.25, 0.4)), 2)
    return _flawed(plan, "corrupted", flaw, start_s, round(start_s + float(rng.uniform(1.0, 1.6)), 2))


def _flawed(plan: ClipPlan, kind: str, flaw: str, start_s: float, end_s: float) -> ClipPlan:
    planted = Planted(kind=kind, modality=MODALITY_OF[flaw], start_s=start_s, end_s=end_s)
    return replace(plan, flaw=flaw, flaw_start_s=start_s, flaw_end_s=end_s, planted=(planted,))


def _variable_rate(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    return replace(plan, planted=(Planted(kind="variable_frame_rate", modality="face"),))


def _late_audio(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    start_s = round(float(rng.uniform(0.3, 0.8)), 2)
    planted = Planted(kind="late_audio", modality="voice", start_s=0.0, end_s=start_s)
    return replace(plan, audio_start_s=start_s, planted=(planted,))


_PLANTERS = {
    "steady": _steady,
    "transition": _transition,
    "flash": _flash,
    "contradiction": _contradiction,
    "missing": _missing,
    "corrupted": _corrupted,
    "variable_frame_rate": _variable_rate,
    "late_audio": _late_audio,
}


def _with_words(plan: ClipPlan, rng: np.random.Generator) -> ClipPlan:
    """Fills the clip with sentences: of the label's sign, or plain ones that carry nothing.

    A transition turns with a new sentence. A contradiction always has emotional words: with plain ones only the voice
    would contradict the face.
    """
    plain = bool(rng.random() < PLAIN_SHARE) and not any(one.kind == "contradiction" for one in plan.planted)
    words: list[Word] = []
    text_id = ""
    for stretch in plan.voiced:
        sign = "plain" if plain else SIGNS[stretch.emotion].text
        rate = SYLLABLES_PER_S[SIGNS[stretch.emotion].voice] * float(rng.uniform(0.92, 1.08))
        now_s = max(stretch.start_s, plan.audio_start_s) + (FIRST_WORD_S if stretch.start_s == 0.0 else 0.08)
        end_s = stretch.end_s - LAST_WORD_GAP_S
        first = True
        while end_s - now_s > MIN_STRETCH_S:
            said = sentence(sign, rng)
            placed = place_words(said.text, start_s=now_s, end_s=end_s, syllables_per_s=rate, rng=rng)
            spoken = sum(syllables(word.text) for word in placed) / (placed[-1].end_s - now_s)
            if not first and spoken > HURRY * rate:
                break
            first = False
            words += placed
            if stretch.emotion == plan.emotion and not text_id:
                text_id = said.text_id
            now_s = placed[-1].end_s + PAUSE_S
    return replace(plan, words=tuple(words), text_id=text_id)
