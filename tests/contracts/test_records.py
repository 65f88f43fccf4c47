from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa

from components.contracts.records import (
    ALIGNED_SCHEMA,
    AlignedClip,
    GivenFeatures,
    Planted,
    Quality,
    Segment,
    Word,
    clip_table,
    clips_of,
)
from tests.builders import make_aligned_clip, make_clip


def test_a_clip_survives_the_table() -> None:
    clip = make_clip(
        words=(Word(text="hey", start_s=0.1, end_s=0.4),),
        segments=(Segment(start_s=0.0, end_s=2.0, emotion="anger"),),
        groups={"gender": "female"},
        planted=(Planted(kind="flash", modality="face", start_s=0.5, end_s=0.9, emotion="fear"),),
        valence=-0.5,
        start_s=12.5,
        end_s=15.0,
        crop=(0.0, 0.0, 0.5, 1.0),
    )
    whole = make_clip("b")
    assert clips_of(clip_table([clip, whole])) == [clip, whole]


def test_an_aligned_clip_survives_the_table() -> None:
    clip = make_aligned_clip()
    table = pa.Table.from_pylist([clip.to_row()], schema=ALIGNED_SCHEMA)
    back = AlignedClip.from_row(table.to_pylist()[0])
    assert back.face_jpeg == clip.face_jpeg
    np.testing.assert_array_equal(back.pcm, clip.pcm)
    np.testing.assert_array_equal(back.physio["ecg"], clip.physio["ecg"])
    np.testing.assert_array_equal(back.masks["text"], clip.masks["text"])
    assert back.quality == clip.quality
    assert back.words == clip.words


def test_a_quality_survives_a_table_and_json() -> None:
    quality = replace(make_aligned_clip().quality, notes=("no face found",), av_offset_s=0.1)
    assert Quality.from_row(quality.to_row()) == quality
    assert Quality.from_row(json.loads(json.dumps(asdict(quality)))) == quality


def test_one_file_stands_for_a_clip() -> None:
    bare = make_clip(video_path=None, audio_path=None, physio_path=None)
    assert (bare.media_paths, bare.main_path) == ((), None)
    given = replace(bare, given=(GivenFeatures(modality="face", path="f.npz", key="a"),))
    assert given.main_path == "f.npz"
    pictures = replace(given, pictures_path="frames/a", physio_path="a.parquet")
    assert pictures.media_paths == ("a.parquet", "frames/a")
    assert replace(pictures, audio_path="a.wav").main_path == "a.wav"
    assert replace(pictures, audio_path="a.wav", video_path="a.mp4").main_path == "a.mp4"
