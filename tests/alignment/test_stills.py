"""Still pictures through alignment: one moment, alone and beside sound, signals and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.alignment.align import Aligner
from components.alignment.streams import STILL_BESIDE_SOUND_NOTE, STILL_NOTE
from components.contracts.codes import Code
from components.contracts.config import Alignment, FaceAlignment, VoiceAlignment
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip, Word
from tests.alignment.media import grey, tone, wav, write_clip
from tests.builders import make_clip

CONFIG = Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy"))


@pytest.fixture(scope="module")
def stills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stills")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    for name in ("a.jpg", "a.png", "a.webp", "a.gif"):
        image.save(folder / name)
    frames = [image, image.rotate(90), image.rotate(180)]
    frames[0].save(folder / "moves.webp", save_all=True, append_images=frames[1:], duration=200)
    patterned = [np.asarray(image)]
    write_clip(folder / "one.mp4", pictures=patterned)
    write_clip(folder / "one.mkv", pictures=patterned)
    write_clip(folder / "spoken.mp4", pictures=patterned, sound=tone(1.5))
    write_clip(folder / "two.mp4", pictures=[grey(90), grey(150)])
    wav(folder / "voice.wav", tone(1.5), rate_hz=48_000)
    times_s = np.arange(0, 3, 0.01)
    pd.DataFrame({"time_s": times_s, "eda": np.sin(times_s)}).to_parquet(folder / "body.parquet")
    return folder


def aligned(root: Path, config: Alignment = CONFIG, **fields: Any) -> AlignedClip:
    return Aligner(config).align(make_clip(**fields), root=root)


@pytest.mark.parametrize(
    ("name", "rate_hz"),
    [
        *((name, 10.0) for name in ("a.jpg", "a.png", "a.webp", "a.gif", "one.mp4", "one.mkv")),
        ("a.jpg", 0.5),
        ("one.mp4", 25.0),
    ],
)
def test_a_still_is_a_clip_of_one_step_at_any_rate(stills: Path, name: str, rate_hz: float) -> None:
    clip = aligned(stills, CONFIG.model_copy(update={"rate_hz": rate_hz}), video_path=name)
    assert clip.grid.num_steps == 1
    assert clip.quality.duration_s == pytest.approx(1 / rate_hz)
    assert clip.masks["face"].tolist() == [True]
    assert not clip.masks["voice"].any()
    assert clip.quality.notes == (STILL_NOTE,)
    assert clip.quality.frame_rate_hz is None


@pytest.mark.parametrize("fields", [{"video_path": "spoken.mp4"}, {"video_path": "a.jpg", "audio_path": "voice.wav"}])
def test_beside_sound_the_face_is_there_at_its_moment_alone(stills: Path, fields: dict[str, str]) -> None:
    clip = aligned(stills, **fields)
    assert clip.quality.duration_s == pytest.approx(1.5, abs=0.05)
    assert clip.masks["face"].tolist() == [True] + [False] * (clip.grid.num_steps - 1)
    assert clip.masks["voice"].sum() >= 14
    assert clip.quality.notes == (STILL_BESIDE_SOUND_NOTE,)


def test_signals_and_words_beside_a_still_last_as_long_as_they_do(stills: Path) -> None:
    body = aligned(stills, video_path="a.jpg", physio_path="body.parquet")
    assert body.quality.duration_s == pytest.approx(2.99)
    assert body.masks["face"].sum() == 1
    assert body.masks["physio"].sum() == body.grid.num_steps
    spoken = aligned(stills, video_path="a.jpg", words=(Word(text="well", start_s=0.5, end_s=0.9),))
    assert spoken.quality.duration_s == pytest.approx(0.9)
    caption = aligned(stills, video_path="a.jpg", transcript="we actually won")
    assert (caption.grid.num_steps, caption.masks["text"].tolist()) == (1, [True])


def test_an_animation_is_a_video(stills: Path) -> None:
    clip = aligned(stills, video_path="moves.webp")
    assert clip.quality.duration_s == pytest.approx(0.6)
    assert clip.masks["face"].all()
    assert STILL_NOTE not in clip.quality.notes
    assert len(set(clip.face_jpeg)) == 3


def test_a_short_video_is_not_a_still_nor_what_is_left_of_a_longer_one(stills: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError) as refused:
        aligned(stills, video_path="two.mp4")
    assert refused.value.code == Code.TRUNCATED
    whole = write_clip(tmp_path / "a.mp4", pictures=[grey(60 + 4 * k) for k in range(40)]).read_bytes()
    for share in (0.2, 0.5):
        (tmp_path / "cut.mp4").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(MediaError):
            aligned(tmp_path, video_path="cut.mp4")


def test_a_photograph_is_not_a_sound_file(stills: Path) -> None:
    with pytest.raises(MediaError) as refused:
        aligned(stills, audio_path="a.jpg")
    assert refused.value.code == Code.NO_AUDIO
