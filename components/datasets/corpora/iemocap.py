"""IEMOCAP: the Interactive Emotional Dyadic Motion Capture database (Busso et al. 2008; on request, USC SAIL).

Ten actors in five sessions of two, scripted and improvised dialogues, 10,039 utterances. Below `root`, as the corpus
unpacks:

    Session{1..5}/dialog/EmoEvaluation/<dialogue>.txt    [start - end] utterance emotion [valence, arousal, dominance]
    Session{1..5}/dialog/transcriptions/<dialogue>.txt   utterance [start-end]: text
    Session{1..5}/dialog/avi/DivX/<dialogue>.avi         both actors, side by side
    Session{1..5}/dialog/wav/<dialogue>.wav
    Session{1..5}/sentences/ForcedAlignment/<dialogue>/<utterance>.wdseg    words in frames of 10 ms (optional)

An utterance is one clip: a span of its dialogue's recording, cropped to the half of the picture that shows the speaker.
A dialogue is named after the actor who wears the markers (Ses01F_…), who is in the left half. Utterances on which the
raters do not agree (xxx, a quarter) have no label and are left out, with a count. A session is a fold (group `fold`,
for `catalog.folds: corpus`), and session 5 the usual test split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.contracts.codes import Code
from components.contracts.config import Section
from components.contracts.errors import DataError
from components.contracts.records import Clip, Quarantined, Word
from components.datasets.about import About
from components.datasets.base import NOT_HASHED, Adapter, Scan, corpus_folder, set_aside, stored_path

EMOTIONS = {
    "ang": "anger",
    "hap": "happiness",
    "exc": "excitement",
    "sad": "sadness",
    "neu": "neutral",
    "fru": "frustration",
    "fea": "fear",
    "sur": "surprise",
    "dis": "disgust",
    "oth": "other",
}
NO_MAJORITY = "xxx"
# The two sets that papers report: 5,531 and 7,380 utterances by the corpus's own tables.
CLASSES: Mapping[int, frozenset[str]] = {
    4: frozenset({"ang", "hap", "exc", "sad", "neu"}),
    6: frozenset({"ang", "hap", "exc", "sad", "neu", "fru"}),
}
UTTERANCE = re.compile(r"Ses0?(?P<session>[1-5])(?P<recorded>[FM])_(?P<scene>(?:impro|script)\w+)_(?P<speaker>[FM])\w+")
LABEL = re.compile(r"\[(?P<start>\S+) - (?P<end>\S+)\]\s+(?P<name>\S+)\s+(?P<emotion>\S+)\s+\[(?P<vad>[^\]]*)\]")
SPOKEN = re.compile(r"(?P<name>Ses\S+)\s+\[[^\]]*\]:\s*(?P<text>.*)")
ALIGNED = re.compile(r"\s*(?P<first>\d+)\s+(?P<last>\d+)\s+-?\d+\s+(?P<word>\S+)")
FRAME_S = 0.01
LOWEST, HIGHEST = 1.0, 5.0  # of the ratings of valence and arousal
HALVES = {True: (0.0, 0.0, 0.5, 1.0), False: (0.5, 0.0, 1.0, 1.0)}  # by whether the speaker wears the markers
GENDERS = {"F": "female", "M": "male"}


class IemocapOptions(Section):
    """The section `iemocap:` of params.yaml."""

    root: str
    """The folder with `Session1` to `Session5`, absolute or relative to the project, or `s3://…`."""

    classes: Literal[4, 6] | None = None
    """The utterances that are kept: those of the 4 or 6 emotions that the corpus is reported in (of 4, excited counts
    as happy), or with null all that have a label."""

    sound: Literal["wav", "video"] = "wav"
    """Where sound comes from: `wav`, the dialogue's sound file where there is one; `video`, the video file."""

    test_session: int = Field(5, ge=1, le=5)
    """The session that is the test split, with `catalog.use_corpus_splits`; the others are for training."""


@dataclass(frozen=True, kw_only=True)
class _Dialogue:
    """The files of one dialogue, as clip rows name them, and the words of each utterance in it."""

    name: str
    table: str
    video: str | None
    audio: str | None
    texts: Mapping[str, str]
    aligned: Path


class Iemocap(Adapter[IemocapOptions]):
    """The IEMOCAP adapter."""

    name = "iemocap"
    licence = "IEMOCAP release licence (USC SAIL): research, on request, not to be passed on"
    about = About(
        title="IEMOCAP, Interactive Emotional Dyadic Motion Capture database",
        modalities=("face", "voice", "text"),
        access="apply",
        how="Fill in the release form on the corpus's page, with the name of your institution; a link comes by mail",
        homepage="https://sail.usc.edu/iemocap/iemocap_release.htm",
        paper="Busso et al. 2008, Language Resources and Evaluation 42, https://doi.org/10.1007/s10579-008-9076-6",
        consent="actors took part for the recordings' use in research",
        labels=EMOTIONS,
        splits="session 5 tests: `catalog: {use_corpus_splits: true}`; or five folds: `catalog: {folds: corpus}`",
    )
    Options = IemocapOptions
    reads = ("Session?/dialog/EmoEvaluation/*.txt", "Session?/dialog/transcriptions/*.txt", "*.wdseg")

    def scan(self, options: IemocapOptions, root: Path, seed: int) -> Scan:
        """Lists the utterances of the label tables; see `Adapter.scan`.

        Raises:
            DataError: also when there is no label table.
        """
        folder = corpus_folder(options.root, root, dataset=self.name)
        tables = [path for path in sorted(folder.glob("Session[1-5]/dialog/EmoEvaluation/Ses*.txt")) if path.is_file()]
        if not tables:
            raise DataError(
                "there is no label table",
                where=f"{self.name}.root",
                seen=str(folder),
                allowed="Session1/dialog/EmoEvaluation/Ses01F_impro01.txt and the like",
                remedy="Set root to the folder that holds Session1 to Session5",
                code=Code.NO_LABELS,
            )
        clips: list[Clip] = []
        quarantined: list[Quarantined] = []
        left_out: Counter[str] = Counter()
        without_text = without_video = 0
        for table in tables:
            dialogue = _dialogue(table, folder, options)
            without_video += dialogue.video is None
            for number, line in _label_lines(table):
                outcome = _utterance(line, dialogue, options, where=f"{table.name} line {number}")
                if isinstance(outcome, Clip):
                    clips.append(outcome)
                    without_text += outcome.transcript is None
                elif isinstance(outcome, str):
                    left_out[outcome] += 1
                else:
                    quarantined.append(outcome)
        notes = [f"{count} utterances left out: {reason}" for reason, count in sorted(left_out.items())]
        if without_video:
            notes.append(f"{without_video} dialogues have no file in dialog/avi/DivX: they are used without pictures")
        if without_text:
            notes.append(
                f"{without_text} utterances have no line in dialog/transcriptions: they are used without words"
            )
        return Scan(clips=clips, quarantined=quarantined, notes=notes)


def _dialogue(table: Path, folder: Path, options: IemocapOptions) -> _Dialogue:
    dialog, name = table.parent.parent, table.stem
    video = dialog / "avi" / "DivX" / f"{name}.avi"
    audio = dialog / "wav" / f"{name}.wav"
    has_audio = _is_listed(audio)
    has_video = _is_listed(video) or not has_audio  # with neither, the stage reports the video as missing
    transcript = dialog / "transcriptions" / f"{name}.txt"
    lines = transcript.read_text(encoding="utf-8", errors="replace").splitlines() if transcript.is_file() else []
    matches = (SPOKEN.fullmatch(line.strip()) for line in lines)
    return _Dialogue(
        name=name,
        table=stored_path(table, folder, options.root),
        video=stored_path(video, folder, options.root) if has_video else None,
        audio=stored_path(audio, folder, options.root)
        if has_audio and (options.sound == "wav" or not has_video)
        else None,
        texts={match["name"]: match["text"] for match in matches if match and match["text"]},
        aligned=dialog.parent / "sentences" / "ForcedAlignment" / name,
    )


def _is_listed(path: Path) -> bool:
    """Whether a file exists, or a link whose target is missing, which the stage reports."""
    return path.exists() or path.is_symlink()


def _label_lines(table: Path) -> Iterator[tuple[int, str]]:
    """The lines that label an utterance, with their numbers; the lines between them hold the raters' single votes."""
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.startswith("["))


def _utterance(line: str, dialogue: _Dialogue, options: IemocapOptions, *, where: str) -> Clip | Quarantined | str:
    """The clip of a line, the reason why it is left out, or a quarantine row."""
    label = LABEL.match(line)
    utterance = UTTERANCE.fullmatch(label["name"]) if label else None
    span = _numbers(label["start"], label["end"]) if label else None
    if label is None or utterance is None or not label["name"].startswith(f"{dialogue.name}_"):
        what = "this is not the label of an utterance of the dialogue"
        return _bad(dialogue, where, what, seen=line, code=Code.BAD_LABEL)
    if span is None or not 0 <= span[0] < span[1]:
        return _bad(dialogue, where, "the utterance has no length", seen=line, code=Code.BAD_LABEL, name=label["name"])
    if label["emotion"] == NO_MAJORITY:
        return "the raters do not agree on an emotion (xxx)"
    if label["emotion"] not in EMOTIONS:
        allowed = ", ".join([*EMOTIONS, NO_MAJORITY])
        return _bad(
            dialogue,
            where,
            "unknown emotion",
            seen=label["emotion"],
            code=Code.UNKNOWN_EMOTION,
            name=label["name"],
            allowed=allowed,
        )
    if options.classes is not None and label["emotion"] not in CLASSES[options.classes]:
        return f"{EMOTIONS[label['emotion']]} is not one of the {options.classes} classes"
    merged = options.classes == 4 and label["emotion"] == "exc"
    valence, arousal = _ratings(label["vad"])
    name, text = label["name"], dialogue.texts.get(label["name"])
    scripted = utterance["scene"].startswith("script")
    return Clip(
        clip_id=f"{Iemocap.name}/{name}",
        dataset=Iemocap.name,
        content_sha256=NOT_HASHED,
        subject_id=f"{Iemocap.name}/{utterance['session']}{utterance['speaker']}",
        session_id=f"{Iemocap.name}/{dialogue.name}",
        video_path=dialogue.video,
        audio_path=dialogue.audio,
        start_s=span[0],
        end_s=span[1],
        crop=HALVES[utterance["speaker"] == utterance["recorded"]] if dialogue.video else None,
        transcript=text,
        words=read_words(dialogue.aligned / f"{name}.wdseg", text or ""),
        emotion="happiness" if merged else EMOTIONS[label["emotion"]],
        valence=valence,
        arousal=arousal,
        text_id=f"{Iemocap.name}/{utterance['scene']}" if scripted else None,
        split="test" if int(utterance["session"]) == options.test_session else "train",
        groups={
            "fold": utterance["session"],
            "gender": GENDERS[utterance["speaker"]],
            "kind": "scripted" if scripted else "improvised",
        },
        licence=Iemocap.licence,
        consent=Iemocap.about.consent,
    )


def _ratings(vad: str) -> tuple[float | None, float | None]:
    """Valence and arousal of `v, a, d` from 1 to 5, as -1 to 1; None where there is no rating (0, -1, or empty)."""
    numbers = _numbers(*vad.split(",")[:2])
    if numbers is None or len(numbers) != 2 or not all(LOWEST <= number <= HIGHEST for number in numbers):
        return None, None
    middle, half = (HIGHEST + LOWEST) / 2, (HIGHEST - LOWEST) / 2
    return (numbers[0] - middle) / half, (numbers[1] - middle) / half


def read_words(path: Path, text: str) -> tuple[Word, ...]:
    """The words of a forced alignment, in seconds from the utterance's start; none where the file is missing.

    Its words are upper case and without punctuation; where the transcript has as many, its spelling is used.
    """
    if not path.is_file():
        return ()
    lines = (ALIGNED.match(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    # <s>, </s>, <sil> are silence, ++LAUGHTER++ and the like noise; WORD(2) is a second pronunciation.
    aligned = [line for line in lines if line is not None and line["word"][0] not in "<+"]
    spelling: Sequence[str] = text.split()
    if len(spelling) != len(aligned):
        spelling = [line["word"].split("(")[0].lower() for line in aligned]
    return tuple(
        Word(text=word, start_s=int(line["first"]) * FRAME_S, end_s=(int(line["last"]) + 1) * FRAME_S)
        for word, line in zip(spelling, aligned, strict=True)
    )


def _numbers(*texts: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        return None


def _bad(
    dialogue: _Dialogue,
    where: str,
    what: str,
    *,
    seen: str,
    code: Code,
    name: str | None = None,
    allowed: str = "[start - end] utterance emotion [valence, arousal, dominance]",
) -> Quarantined:
    return set_aside(
        Iemocap.name,
        name or f"{dialogue.name} {where.rsplit(maxsplit=1)[-1]}",
        code=code,
        message=f"{where}: {what}",
        path=dialogue.table,
        seen=seen,
        allowed=allowed,
        remedy="Unpack the table again, or remove the line from it",
    )
