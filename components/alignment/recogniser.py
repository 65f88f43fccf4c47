"""Words for clips that come without any: `transformers:<name or folder>` of a Whisper checkpoint (Radford et al. 2022).

It receives only the segments that voice activity marks as speech, one at a time, since Whisper invents sentences where
no one speaks. Where the checkpoint lists the attention heads that follow the sound, each word has its own time (dynamic
time warping over their weights, as in the reference implementation); otherwise a segment's words are spread over the
speech within it. Decoding is greedy, so the same sound gives the same words.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.alignment.words import placed, within
from components.contracts.config import WordsAlignment
from components.contracts.errors import ConfigError, UnavailableError
from components.contracts.records import Word
from components.contracts.timebase import Grid
from components.media.sound import FULL_SCALE
from components.runtime.checkpoint import Checkpoint, load_model

WHERE = "alignment.words.recogniser"
VERSION = 1
MODEL_TYPE = "whisper"
NEEDED = ("tokenizer.json", "preprocessor_config.json", "generation_config.json")
PAUSE_S = 0.8  # segments of speech closer than this are joined
MARGIN_S = 0.2  # of sound on either side of a segment
LONGEST_S = 28.0  # the input of Whisper is 30 s
ALONE_S = 0.02  # the shortest duration of a word


class Recogniser(Protocol):
    """Transcribes speech."""

    def words(self, pcm: NDArray[np.int16], rate_hz: int, voiced: NDArray[np.bool_], grid: Grid) -> tuple[Word, ...]:
        """The words in a clip's sound (N,) where `voiced` (T,) is True, on the clip's clock."""
        ...


def create_recogniser(config: WordsAlignment) -> Recogniser | None:
    """The configured recogniser, or None for `none`.

    Raises:
        UnavailableError: the checkpoint or transformers is not on this machine.
        ConfigError: the checkpoint is not a Whisper model.
    """
    return None if config.recogniser == "none" else TransformersRecogniser(_checkpoint(config))


def recogniser_fingerprint(config: WordsAlignment) -> str | None:
    """Identity of the recogniser, from its content and not its path; None for `none`. Raises UnavailableError."""
    return None if config.recogniser == "none" else _checkpoint(config).content_fingerprint(["words", VERSION])


def _checkpoint(config: WordsAlignment) -> Checkpoint:
    spec = config.recogniser
    checkpoint = Checkpoint(spec, spec.partition(":")[2], "cpu", where=WHERE)
    if checkpoint.model_type != MODEL_TYPE:
        raise ConfigError(
            "this checkpoint is not a supported speech recogniser",
            where=WHERE,
            seen=checkpoint.model_type,
            allowed=MODEL_TYPE,
        )
    return checkpoint


class TransformersRecogniser:
    """A Whisper checkpoint in the pipeline of transformers, float32 on a CPU; takes a few seconds for 30 s of sound,
    more with the larger checkpoints."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        folder = checkpoint.folder
        model = load_model("AutoModelForSpeechSeq2Seq", folder, checkpoint.device)
        from transformers import AutoFeatureExtractor, AutoTokenizer, pipeline

        for file in NEEDED:
            if not (folder / file).is_file():  # without it transformers uses defaults
                raise UnavailableError(
                    f"the checkpoint has no {file}", where=WHERE, seen=str(folder), remedy="Save it beside the weights"
                )
        parts = [
            kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            for kind in (AutoTokenizer, AutoFeatureExtractor)
        ]
        generation = model.generation_config
        self._each_word = bool(getattr(generation, "alignment_heads", None))
        self._options: dict[str, Any] = {"do_sample": False, "num_beams": 1}
        if getattr(generation, "is_multilingual", False):
            # In the spoken language; a checkpoint for English alone refuses the option.
            self._options["task"] = "transcribe"
        self._pipeline: Any = pipeline(
            "automatic-speech-recognition", model=model, tokenizer=parts[0], feature_extractor=parts[1], device="cpu"
        )

    def words(self, pcm: NDArray[np.int16], rate_hz: int, voiced: NDArray[np.bool_], grid: Grid) -> tuple[Word, ...]:
        """See `Recogniser.words`."""
        duration_s = pcm.size / rate_hz
        recognised: list[Word] = []
        for start_s, end_s in stretches(voiced, grid, duration_s):
            part = pcm[round(start_s * rate_hz) : round(end_s * rate_hz)].astype(np.float32) / np.float32(FULL_SCALE)
            output = self._pipeline(
                {"raw": part, "sampling_rate": rate_hz},
                return_timestamps="word" if self._each_word else True,
                generate_kwargs=dict(self._options),
            )
            for chunk in output["chunks"]:
                begin, end = chunk["timestamp"]
                # Words that the recogniser places outside the segment are moved to its edge.
                first = min(max(start_s + (begin or 0.0), start_s), end_s - ALONE_S)
                last = end_s if end is None else min(max(start_s + end, first + ALONE_S), end_s)
                if self._each_word:
                    recognised.append(Word(text=chunk["text"].strip(), start_s=first, end_s=last))
                else:
                    recognised += within(chunk["text"], first, last, voiced, grid)
        return placed(recognised, duration_s)


def stretches(voiced: NDArray[np.bool_], grid: Grid, duration_s: float) -> list[tuple[float, float]]:
    """Spans of speech with their margins, none longer than LONGEST_S; a pause of PAUSE_S separates two."""
    spans: list[tuple[float, float]] = []
    for step in np.nonzero(voiced)[0]:
        start_s, end_s = step / grid.rate_hz, (step + 1) / grid.rate_hz
        joins = spans and start_s - spans[-1][1] < PAUSE_S and end_s - spans[-1][0] <= LONGEST_S - 2 * MARGIN_S
        if joins:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))
    widened = [(max(start - MARGIN_S, 0.0), min(end + MARGIN_S, duration_s)) for start, end in spans]
    # Two segments that were split at LONGEST_S must not overlap.
    for k in range(1, len(widened)):
        if widened[k][0] < widened[k - 1][1]:
            middle = (spans[k - 1][1] + spans[k][0]) / 2
            widened[k - 1], widened[k] = (widened[k - 1][0], middle), (middle, widened[k][1])
    return widened
