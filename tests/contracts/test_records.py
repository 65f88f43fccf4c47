from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.contracts.records import (
    ALIGNED_SCHEMA,
    AlignedClip,
    Planted,
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
