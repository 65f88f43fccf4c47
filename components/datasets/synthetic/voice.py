"""A voice by source and filter (Fant 1960): glottal pulses and breath, shaped by moving formants. About 60 ms per clip.

The words' letters give the syllables, consonants and vowels; the sign gives pitch, range, loudness, tilt, breath,
roughness and tremor; the subject gives pitch level and vocal-tract length. The filter is applied in short-time spectra
(complex response of a cascade of resonators, overlap-add), so that formants may move without a loop over samples.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from components.datasets.synthetic.plan import SUBJECT, VOICE, ClipPlan
from components.datasets.synthetic.signs import SIGNS

Track = NDArray[np.float64]

RATE_HZ = 16_000
FRAME_HZ = 200  # control frames a second
HOP = RATE_HZ // FRAME_HZ
WINDOW = 4 * HOP
SPECTRUM = 512
VOICED = 0.5
HISS = 0.4
SPEECH_RMS = 0.08  # of full scale, for a level of 0 dB


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a sign sounds.

    pitch: factor on the speaker's own; range_st: semitones of movement over a sentence; melody_st: a sing-song on top;
    level_db; tilt: 0 bright … 1 dull; breath: share of noise in the source; jitter, shimmer: relative, per period;
    tremor: depth of a 5.5 Hz shake of the pitch; formants: factor (a smile shortens the tract).
    """

    pitch: float
    range_st: float
    melody_st: float
    level_db: float
    tilt: float
    breath: float
    jitter: float
    shimmer: float
    tremor: float
    formants: float


# After the vocal-affect tables of Scherer (2003) and Juslin & Laukka (2003), with one row for two emotions each.
MANNERS: dict[str, Manner] = {
    "flat": Manner(
        pitch=0.90, range_st=1.2, melody_st=0.0, level_db=-2.0, tilt=0.6, breath=0.06, jitter=0.012, shimmer=0.06,
        tremor=0.0, formants=1.0,
    ),
    "forceful": Manner(
        pitch=1.50, range_st=5.0, melody_st=0.0, level_db=5.0, tilt=0.05, breath=0.04, jitter=0.008, shimmer=0.05,
        tremor=0.0, formants=1.03,
    ),
    "lively": Manner(
        pitch=1.22, range_st=3.0, melody_st=4.0, level_db=1.0, tilt=0.35, breath=0.08, jitter=0.005, shimmer=0.03,
        tremor=0.0, formants=1.05,
    ),
    "thin": Manner(
        pitch=1.08, range_st=2.0, melody_st=0.0, level_db=-5.0, tilt=0.85, breath=0.40, jitter=0.025, shimmer=0.12,
        tremor=0.05, formants=0.98,
    ),
}  # fmt: skip

# First three formants of an adult man's vowels, Hz (Peterson & Barney 1952), by the letters that mostly write them.
VOWELS: dict[str, tuple[float, float, float]] = {
    "ee": (270, 2290, 3010), "ea": (270, 2290, 3010), "i": (390, 1990, 2550), "y": (300, 2200, 2950),
    "e": (530, 1840, 2480), "a": (660, 1720, 2410), "ar": (730, 1090, 2440), "o": (570, 840, 2410),
    "oo": (300, 870, 2240), "u": (640, 1190, 2390), "ou": (440, 1020, 2240), "er": (490, 1350, 1690),
    "ai": (480, 1900, 2500), "ow": (500, 900, 2400),
}  # fmt: skip
SCHWA = (500.0, 1500.0, 2500.0)
BANDWIDTHS_HZ = (80.0, 100.0, 140.0, 220.0)
FOURTH_HZ = 3500.0

# Consonants: voicing, noise, centre of the noise (Hz), loudness of the voiced part.
FRICATIVES = {"s": 5500.0, "z": 5500.0, "f": 3800.0, "v": 3500.0, "h": 1600.0, "c": 5000.0, "x": 5200.0, "j": 3000.0}
STOPS = frozenset("ptkbdgq")
SPLIT = re.compile(r"[aeiouy]+|[^aeiouy]+")
CONSONANT_SHARE = 0.38


@dataclass(frozen=True, kw_only=True)
class _Score:
    """Control tracks at FRAME_HZ: what the mouth does."""

    voicing: Track
    noise: Track
    noise_hz: Track
    formants: NDArray[np.float64]


def speak(plan: ClipPlan) -> NDArray[np.int16]:
    """The clip's sound, (N,) int16 mono at 16 kHz, from the clip's start to its end."""
    rng = plan.rng(VOICE)
    frames = round(plan.duration_s * FRAME_HZ)
    manner = _manner_tracks(plan, frames)
    person = plan.subject_rng(SUBJECT + 50)
    male = plan.gender == "male"
    base_hz = float(person.uniform(95, 130) if male else person.uniform(175, 225))
    tract = float(person.uniform(0.95, 1.03) if male else person.uniform(1.12, 1.22))
    score = _score(plan, frames, manner["formants"] * tract, rng)
    pitch_hz = base_hz * _contour(plan, frames, manner, rng)
    source = _glottis(pitch_hz, manner, rng) * _upsample(score.voicing)
    breath = rng.standard_normal(source.size)
    source += breath * _upsample(manner["breath"] * score.voicing) * 0.35
    voice = _filtered(source, _vocal_tract(score.formants))
    hiss = _filtered(rng.standard_normal(source.size) * _upsample(score.noise), _noise_band(score.noise_hz))
    level = 10.0 ** (_upsample(manner["level_db"]) / 20.0)
    loud = _upsample(score.voicing) > VOICED
    speech = (voice / (np.sqrt(np.mean(voice[loud] ** 2)) + 1e-9) + HISS * hiss) * level
    return _recorded(plan, speech, rng)


def _manner_tracks(plan: ClipPlan, frames: int) -> dict[str, Track]:
    """Each field of `Manner` over time, as the parts of the plan change it."""
    times_s = (np.arange(frames) + 0.5) / FRAME_HZ
    neutral = MANNERS["flat"]
    tracks: dict[str, Track] = {}
    for name in Manner.__dataclass_fields__:
        track = np.zeros(frames)
        for part in plan.voiced:
            inside = (times_s >= part.start_s) & (times_s < part.end_s)
            full = getattr(MANNERS[SIGNS[part.emotion].voice], name)
            calm = getattr(neutral, name)
            # A weak expression keeps a third of the way to the flat voice, so that signs stay apart.
            strength = 1.0 if part.brief else 0.55 + 0.45 * plan.intensity
            track[inside] = calm + (full - calm) * strength
        tracks[name] = gaussian_filter1d(track, 0.03 * FRAME_HZ, mode="nearest")
    return tracks


def _score(plan: ClipPlan, frames: int, scale: Track, rng: np.random.Generator) -> _Score:
    """Reads the words letter by letter into control tracks."""
    voicing, noise, noise_hz = np.zeros(frames), np.zeros(frames), np.full(frames, 3000.0)
    formants = np.tile(np.array([*SCHWA, FOURTH_HZ]), (frames, 1))
    for word in plan.words:
        pieces = SPLIT.findall(re.sub(r"[^a-z]", "", word.text.lower()))
        shares = np.array([1.0 if piece[0] in "aeiouy" else CONSONANT_SHARE * min(2, len(piece)) for piece in pieces])
        edges = word.start_s + np.concatenate([[0.0], np.cumsum(shares / shares.sum())]) * (word.end_s - word.start_s)
        stress = float(rng.uniform(0.8, 1.0))
        for piece, start_s, end_s in zip(pieces, edges[:-1], edges[1:], strict=True):
            first, last = round(start_s * FRAME_HZ), max(round(start_s * FRAME_HZ) + 1, round(end_s * FRAME_HZ))
            if piece[0] in "aeiouy":
                vowel = VOWELS.get(piece) or VOWELS.get(piece[:2]) or VOWELS[piece[0]]
                voicing[first:last] = stress
                formants[first:last, :3] = vowel
                continue
            letter = piece[-1]
            if letter in STOPS:
                burst = max(first, last - 4)
                voicing[first:burst] = 0.08 if letter in "bdg" else 0.0
                noise[burst:last], noise_hz[burst:last] = 0.5, 2500.0
            elif letter in FRICATIVES or piece == "sh":
                voicing[first:last] = 0.25 if letter in "zvj" else 0.02
                noise[first:last], noise_hz[first:last] = 0.6, FRICATIVES.get(letter, 3000.0)
            else:  # nasals and liquids
                voicing[first:last] = 0.45
                formants[first:last, :3] = (300.0, 1200.0, 2300.0)
    formants = gaussian_filter1d(formants, 0.018 * FRAME_HZ, axis=0, mode="nearest") * scale[:, None]
    return _Score(
        voicing=gaussian_filter1d(voicing, 0.010 * FRAME_HZ),
        noise=gaussian_filter1d(noise, 0.004 * FRAME_HZ),
        noise_hz=noise_hz,
        formants=np.minimum(formants, 0.47 * RATE_HZ),
    )


def _contour(plan: ClipPlan, frames: int, manner: dict[str, Track], rng: np.random.Generator) -> Track:
    """Pitch as a factor of the speaker's own: declination over each breath, accents, melody, tremor."""
    times_s = (np.arange(frames) + 0.5) / FRAME_HZ
    fall = np.zeros(frames)
    accents = np.zeros(frames)
    for phrase in _phrases(plan):
        inside = (times_s >= phrase[0]) & (times_s < phrase[1])
        fall[inside] = 0.5 - (times_s[inside] - phrase[0]) / (phrase[1] - phrase[0])
    for word in plan.words:
        centre_s = (word.start_s + word.end_s) / 2
        accents += float(rng.uniform(-0.3, 1.0)) * np.exp(-(((times_s - centre_s) / 0.09) ** 2))
    melody = np.sin(2 * np.pi * float(rng.uniform(1.3, 1.9)) * times_s + float(rng.uniform(0, 2 * np.pi)))
    semitones = manner["range_st"] * (0.6 * fall + 0.5 * accents) + manner["melody_st"] * melody
    shake = 1.0 + manner["tremor"] * np.sin(2 * np.pi * 5.5 * times_s)
    return manner["pitch"] * 2.0 ** (semitones / 12.0) * shake


def _phrases(plan: ClipPlan) -> list[tuple[float, float]]:
    """Stretches of words without a pause between them."""
    phrases: list[tuple[float, float]] = []
    for word in plan.words:
        if phrases and word.start_s - phrases[-1][1] < 0.05:
            phrases[-1] = (phrases[-1][0], word.end_s)
        else:
            phrases.append((word.start_s, word.end_s))
    return phrases


def _upsample(track: Track) -> Track:
    positions = np.arange(track.size * HOP) / HOP - 0.5
    return np.interp(positions, np.arange(track.size), track)


def _glottis(pitch_hz: Track, manner: dict[str, Track], rng: np.random.Generator) -> Track:
    """The derivative of Rosenberg's glottal pulse (1971, type C), one period after another.

    Jitter and shimmer are drawn once per period; the tilt is a blend with the pulse through a one-pole low pass.
    """
    frequency = _upsample(pitch_hz)
    periods = int(frequency.sum() / RATE_HZ) + 3
    phase = np.cumsum(frequency) / RATE_HZ
    number = phase.astype(np.int64)
    wobble = rng.standard_normal(periods)
    loudness = rng.standard_normal(periods)
    jitter = _upsample(manner["jitter"]) * wobble[number]
    phase = np.cumsum(frequency * (1.0 + jitter)) / RATE_HZ
    number = np.minimum(phase.astype(np.int64), periods - 1)
    turn = phase - np.floor(phase)
    opening, closing = 0.40, 0.16
    rising = 0.5 * np.pi / opening * np.sin(np.pi * turn / opening)
    falling = -0.5 * np.pi / closing * np.sin(0.5 * np.pi * (turn - opening) / closing)
    pulse = np.where(turn < opening, rising, np.where(turn < opening + closing, falling, 0.0))
    pulse *= 1.0 + _upsample(manner["shimmer"]) * loudness[number]
    dull = lfilter([0.08], [1.0, -0.92], pulse)
    dull *= pulse.std() / dull.std()  # the tilt changes the colour; the level has a track of its own
    tilt = _upsample(manner["tilt"])
    blended: Track = (1.0 - tilt) * pulse + tilt * dull
    return blended


def _vocal_tract(formants_hz: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Complex response of a cascade of second-order resonators (Klatt 1980), (frames, SPECTRUM/2 + 1)."""
    angle = 2 * np.pi * np.arange(SPECTRUM // 2 + 1) / SPECTRUM
    delay = np.exp(-1j * angle)
    response = np.ones((formants_hz.shape[0], delay.size), dtype=np.complex128)
    for column, bandwidth_hz in enumerate(BANDWIDTHS_HZ):
        radius = np.exp(-np.pi * bandwidth_hz / RATE_HZ)
        b = 2 * radius * np.cos(2 * np.pi * formants_hz[:, column] / RATE_HZ)
        response *= (1.0 - b + radius**2)[:, None] / (1.0 - b[:, None] * delay + radius**2 * delay**2)
    return response


def _noise_band(centre_hz: Track) -> NDArray[np.complex128]:
    """A bell around the centre, as wide as half of it."""
    bins_hz = np.arange(SPECTRUM // 2 + 1) * RATE_HZ / SPECTRUM
    distance = (bins_hz - centre_hz[:, None]) / (0.3 * centre_hz[:, None])
    return np.exp(-0.5 * distance**2).astype(np.complex128)


def _filtered(signal: Track, response: NDArray[np.complex128]) -> Track:
    """Multiplies short-time spectra by a response a control frame, and overlap-adds."""
    frames = response.shape[0]
    window = np.hanning(WINDOW + 1)[:-1]
    padded = np.concatenate([np.zeros(WINDOW // 2), signal, np.zeros(WINDOW + SPECTRUM)])
    starts = np.arange(frames) * HOP
    blocks = padded[starts[:, None] + np.arange(WINDOW)] * window
    shaped = np.fft.irfft(np.fft.rfft(blocks, SPECTRUM, axis=1) * response, SPECTRUM, axis=1)
    out = np.zeros(frames * HOP + WINDOW + SPECTRUM)
    pieces = -(-SPECTRUM // HOP)
    shaped = np.pad(shaped, ((0, 0), (0, pieces * HOP - SPECTRUM))).reshape(frames, pieces, HOP)
    for piece in range(pieces):  # add the k-th hop of every block at once
        out[piece * HOP : piece * HOP + frames * HOP] += shaped[:, piece].ravel()
    return out[WINDOW // 2 : WINDOW // 2 + frames * HOP] * (HOP / window.sum())


def _recorded(plan: ClipPlan, speech: Track, rng: np.random.Generator) -> NDArray[np.int16]:
    """The microphone: gain, room noise, and the planted flaw."""
    signal = speech * SPEECH_RMS * 10.0 ** (float(rng.uniform(-3.0, 3.0)) / 20.0)
    reference = np.sqrt(np.mean(signal**2)) + 1e-9
    colour = lfilter([0.2], [1.0, -0.8], rng.standard_normal(signal.size))
    snr_db = float(rng.uniform(18.0, 35.0))
    if plan.flaw == "drowned_sound":
        snr_db = -12.0
    room = colour / colour.std() * reference * 10.0 ** (-snr_db / 20.0)
    mixed = signal + room
    times_s = np.arange(mixed.size) / RATE_HZ
    if plan.flaw == "silent_sound":
        mixed = np.zeros_like(mixed)
    if plan.flaw == "sound_dropout":
        mixed[(times_s >= plan.flaw_start_s) & (times_s < plan.flaw_end_s)] = 0.0
    peak = np.abs(mixed).max()
    if peak > 0.95:
        mixed *= 0.95 / peak
    return np.rint(mixed * 32767).astype(np.int16)
