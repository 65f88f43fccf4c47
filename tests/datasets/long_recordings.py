"""IEMOCAP and CMU-MOSEI in small: recordings that are longer than the utterances in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.alignment.media import draw_face, tone, wav, write_clip

RATERS = "C-E2:\tNeutral;\t()\nA-E3:\tval 3; act 2; dom  2;\t()\n"
DIALOGUES: dict[str, list[str]] = {
    "Session1/Ses01F_impro01": [
        "[0.2000 - 0.9000]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]",
        "[0.9500 - 1.8000]\tSes01F_impro01_M000\texc\t[4.0000, 5.0000, 3.5000]",
        "[1.0000 - 1.9000]\tSes01F_impro01_F001\txxx\t[2.5000, 2.5000, 2.5000]",
    ],
    "Session5/Ses05M_script02_1": [
        "[0.5000 - 1.5000]\tSes05M_script02_1_M000\tang\t[1.0000, 4.0000, 4.0000]",
        "[1.0000 - 1.9000]\tSes05M_script02_1_F000\tfru\t[2.0000, 3.0000, 4.0000]",
    ],
}
SAID = {
    "Ses01F_impro01_F000": "Excuse me.",
    "Ses01F_impro01_M000": "Do you have your forms?",
    "Ses05M_script02_1_M000": "What were you doing out there?",
}
EXCUSE_ME = """\t SFrm  EFrm   SegAScr Word
\t    0    11    -12000 <s>
\t   12    30   -147094 EXCUSE
\t   31    35    -14709 <sil>
\t   36    52    -94709 ME(2)
\t   53    60    -94709 ++BREATHING++
\t   61    69    -12000 </s>
 Total score:     -426312
"""


def two_people(path: Path, seconds: float = 2.0) -> Path:
    """Two faces side by side in DivX's codec, with mp3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.concatenate([draw_face(96, 96), draw_face(96, 96, side=0.5)], axis=1)
    count = round(seconds * 25)
    return write_clip(
        path, pictures=[picture] * count, sound=tone(seconds), video_codec="mpeg4", audio_codec="libmp3lame", gop=12
    )


def label_table(root: Path, dialogue: str, lines: list[str]) -> Path:
    """A table of `EmoEvaluation`, the single raters' lines in between."""
    session, name = dialogue.split("/")
    path = root / session / "dialog" / "EmoEvaluation" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    path.write_text(head + "".join(f"{line}\n{RATERS}\n" for line in lines))
    return path


def iemocap(folder: Path) -> dict[str, Any]:
    for dialogue, lines in DIALOGUES.items():
        session, name = dialogue.split("/")
        label_table(folder, dialogue, lines)
        two_people(folder / session / "dialog" / "avi" / "DivX" / f"{name}.avi")
        texts = folder / session / "dialog" / "transcriptions" / f"{name}.txt"
        texts.parent.mkdir(parents=True)
        said = {utterance: text for utterance, text in SAID.items() if utterance.startswith(name)}
        texts.write_text("".join(f"{utterance} [000.2000-000.9000]: {text}\n" for utterance, text in said.items()))
    sound = folder / "Session1" / "dialog" / "wav" / "Ses01F_impro01.wav"
    sound.parent.mkdir(parents=True)
    wav(sound, tone(2.0, 16_000))
    words = folder / "Session1" / "sentences" / "ForcedAlignment" / "Ses01F_impro01" / "Ses01F_impro01_F000.wdseg"
    words.parent.mkdir(parents=True)
    words.write_text(EXCUSE_ME)
    (folder / "Session5" / "dialog" / "EmoEvaluation" / "._Ses05M_script02_1.txt").write_bytes(b"\0\5\26\7")  # macOS
    label_table(folder, "Session5/Ses05F_impro02", ["[0.2 - 0.9]\tSes05F_impro02_F000\tsad\t[2.0, 2.0, 2.0]"])
    _pointer(folder / "Session5" / "dialog" / "avi" / "DivX" / "Ses05F_impro02.avi")
    return {"root": folder.name}


VIDEOS = {"-571d8cVauQ": "train", "112425": "valid", "Xa086gxLJ3Y": "test"}
SENTENCES = {
    "-571d8cVauQ": ["0___0.2___1.1___but I love it", "1___-0.0___0.3___so", "2___1.2___1.9___it is ___ not good"],
    "112425": ["3___0.5___1.5___and that was awful"],
    "Xa086gxLJ3Y": ["0___0.1___0.9___fine"],
}
RATINGS_HEAD = (
    "HITId,Input.VIDEO_ID,Input.CLIP,Answer.anger,Answer.disgust,Answer.fear,Answer.happiness,Answer.sadness,"
    "Answer.sentiment,Answer.surprise"
)
RATINGS = [
    "h1,-571d8cVauQ,0,0,0,0,3,0,2,0",
    "h1,-571d8cVauQ,0,,,,2,,3,1",
    "h1,-571d8cVauQ,0,0,0,0,1,1,2,0",
    "h2,-571d8cVauQ,2,0,1,0,0,0,-1,0",
    "h3,part/112425,3,0,2,0,0,1,-3,0",
    "h3,part/112425,3,0,3,0,0,2,-2,0",
    "h4,Xa086gxLJ3Y,0,0,0,0,0,0,0,0",
]


def mosei(folder: Path) -> dict[str, Any]:
    raw = folder / "Raw"
    for name in ("Transcript/Segmented/Combined", "Videos/Full/Combined", "Videos/Segmented/Combined", "Labels"):
        (raw / name).mkdir(parents=True)
    for video, sentences in SENTENCES.items():
        text = "".join(f"{video}___{sentence}\n" for sentence in sentences)
        (raw / "Transcript" / "Segmented" / "Combined" / f"{video}.txt").write_text(text)
        path = raw / "Videos" / "Full" / "Combined" / f"{video}.mp4"
        if video == "Xa086gxLJ3Y":
            _pointer(path)
        else:
            write_clip(path, pictures=[draw_face(96, 96)] * 50, sound=tone(2.0), gop=12)
    (raw / "Labels" / "5000_batch_raw.csv").write_text("\n".join([RATINGS_HEAD, *RATINGS, ""]))
    (folder / "splits.csv").write_text(
        "video,split\n" + "".join(f"{video},{split}\n" for video, split in VIDEOS.items())
    )
    return {"root": f"{folder.name}/Raw", "splits_file": f"{folder.name}/splits.csv"}


def _pointer(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
