"""A tiny corpus in each adapter's exact layout, in real containers and codecs, made on the spot.

`CORPORA` maps a dataset's name to what writes it: a folder in, the dataset's section of params.yaml out (its `root`
relative to the folder's parent). Each holds at least two people and two emotions, and one file that is no media.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.alignment.media import draw_face, tone, wav, write_clip
from tests.datasets.long_recordings import iemocap, mosei
from tests.datasets.wesad_files import write_subject

Writer = Callable[[Path], dict[str, Any]]


def talking(path: Path, **codecs: Any) -> Path:
    """Half a second of picture and sound; the container follows from the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, pictures=[draw_face(96, 96)] * 12, sound=tone(0.5), **codecs)


def speech(path: Path, hz: float = 300.0) -> Path:
    """Half a second of sound at 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return wav(path, tone(0.5, 16_000, hz=hz))


def no_media(path: Path) -> Path:
    """What a checkout without its large files holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    return path


def ravdess(folder: Path) -> dict[str, Any]:
    talking(folder / "Actor_01" / "01-01-03-01-01-01-01.mp4")
    speech(folder / "Actor_02" / "03-01-04-02-02-01-02.wav")
    no_media(folder / "Actor_02" / "03-01-05-01-01-01-02.wav")
    return {"root": folder.name}


def emodb(folder: Path) -> dict[str, Any]:
    speech(folder / "wav" / "03a01Fa.wav")
    speech(folder / "wav" / "08b10Wb.wav", hz=200)
    no_media(folder / "wav" / "08b10Tb.wav")
    return {"root": folder.name}


def cremad(folder: Path) -> dict[str, Any]:
    for name, hz in (("1001_IEO_ANG_HI", 300), ("1002_ITS_NEU_XX", 200)):
        path = folder / "VideoFlash" / f"{name}.flv"
        talking(path, video_codec="flv", audio_codec="libmp3lame", sound_rate_hz=44_100)
        speech(folder / "AudioWAV" / f"{name}.wav", hz=hz)
    speech(folder / "AudioWAV" / "1002_TSI_SAD_LO.wav")
    no_media(folder / "AudioWAV" / "1001_WSI_HAP_MD.wav")
    (folder / "VideoDemographics.csv").write_text(
        "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n1002,21,Female,Caucasian,Not Hispanic\n"
    )
    (folder / "processedResults").mkdir()
    (folder / "processedResults" / "summaryTable.csv").write_text(
        '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'
        '"1","1001_IEO_ANG_HI","A","60","D","55","A","70"\n"2","1002_ITS_NEU_XX","N","50","N","50","A:N","50"\n'
        '"3","1002_TSI_SAD_LO","N","50","S","50","S","50"\n"4","1001_WSI_HAP_MD","H","50","H","50","H","50"\n'
    )
    return {"root": folder.name}


def folder(folder: Path) -> dict[str, Any]:
    talking(folder / "anger" / "ann" / "one.avi", video_codec="mpeg4", audio_codec="pcm_s16le")
    speech(folder / "joy" / "bo" / "two.wav")
    no_media(folder / "joy" / "ann" / "three.mp4")
    return {"root": folder.name, "emotions": {"joy": "happiness"}, "licence": "CC0", "consent": "in writing"}


def manifest(folder: Path) -> dict[str, Any]:
    talking(folder / "clips" / "one.mkv")
    speech(folder / "clips" / "two.wav")
    no_media(folder / "clips" / "three.wav")
    rows = [
        {"video": "clips/one.mkv", "emotion": "anger", "subject": "ann", "start_s": 0.0, "end_s": 0.2},
        {"video": "clips/one.mkv", "emotion": "neutral", "subject": "ann", "start_s": 0.2, "end_s": 0.5},
        {"audio": "clips/two.wav", "emotion": "joy", "subject": "bo", "valence": 0.5, "group_gender": "male"},
        {"audio": "clips/three.wav", "emotion": "joy", "subject": "bo"},
    ]
    (folder / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "table": f"{folder.name}/table.jsonl",
        "emotions": {"joy": "happiness"},
        "licence": "CC0",
        "consent": "in writing",
    }


MELD_COLUMNS = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


def meld(folder: Path) -> dict[str, Any]:
    tables = {
        "train": ["1,Could it be worse?,Ann,joy,positive,0,0,1,1", "2,No.,Bo,anger,negative,0,1,1,1"],
        "dev": ["1,Well…,Cy,neutral,neutral,0,0,1,1"],
        "test": ["1,Oh my!,Ann,surprise,positive,0,0,1,1"],
    }
    for split, lines in tables.items():
        text = "\n".join([MELD_COLUMNS, *(f'{line},"00:00:01,000","00:00:01,500"' for line in lines), ""])
        (folder / f"{split}_sent_emo.csv").write_text(text, encoding="utf-8")
    talking(folder / "train_splits" / "dia0_utt0.mp4")
    talking(folder / "train_splits" / "dia0_utt1.mp4")
    talking(folder / "dev_splits_complete" / "dia0_utt0.mp4")
    no_media(folder / "output_repeated_splits_test" / "dia0_utt0.mp4")
    return {"root": folder.name}


EXPR_HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"


def crops(folder: Path, numbers: Iterable[int], px: int = 112) -> Path:
    """Numbered jpg pictures of a face."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = draw_face(px, px)
    for number in numbers:
        Image.fromarray(picture).save(folder / f"{number:05d}.jpg")
    return folder


def expr_labels(path: Path, labels: Iterable[int], header: str = EXPR_HEADER) -> Path:
    """A label file of the expression challenge: a line a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *map(str, labels), ""]))
    return path


def affwild2(folder: Path) -> dict[str, Any]:
    challenge = folder / "EXPR_Recognition_Challenge"
    expr_labels(challenge / "Train_Set" / "1-30-1280x720.txt", [4, 4, 4, 4, -1, -1, 0, 0, 0, 0, 0, 0])
    talking(folder / "batch1" / "1-30-1280x720.mp4")
    crops(folder / "cropped_aligned" / "1-30-1280x720", [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12])
    talking(folder / "batch2" / "video5.mp4", fps=15.0)
    for side in ("left", "right"):
        expr_labels(challenge / "Validation_Set" / f"video5_{side}.txt", [1] * 12)
        crops(folder / "cropped_aligned" / f"video5_{side}", range(1, 13))
    expr_labels(challenge / "Validation_Set" / "video8.txt", [5] * 12)
    crops(folder / "cropped_aligned" / "video8", range(1, 13))
    no_media(folder / "batch2" / "video8.mp4")
    return {"root": folder.name}


def wesad(folder: Path) -> dict[str, Any]:
    write_subject(folder, "S2")
    write_subject(folder, "S3", conditions=((3, 12.0), (0, 1.0), (4, 8.0), (7, 6.0)))
    no_media(folder / "S4" / "S4.pkl")
    return {"root": folder.name, "window_s": 6}


CORPORA: dict[str, Writer] = {
    "affwild2": affwild2,
    "cremad": cremad,
    "emodb": emodb,
    "folder": folder,
    "iemocap": iemocap,
    "manifest": manifest,
    "meld": meld,
    "mosei": mosei,
    "ravdess": ravdess,
    "wesad": wesad,
}
