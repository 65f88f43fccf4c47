"""Photographs and animations: every way in which one picture may be stored is the same picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.contracts.codes import Code
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.media.chosen import scan_chosen
from components.media.frames import DecodeReport, frames
from components.media.images import LARGER, image_times
from components.media.probe import image_format, probe_media
from components.media.reader import MediaReader
from components.media.span import Span
from components.media.tracks import Choice, Choices

LIMITS = MediaLimits()
WIDTH, HEIGHT = 48, 32
TOLERANCE = 12.0  # grey levels of 255, on average over the pixels: JPEG and WebP lose some


def scene() -> np.ndarray:
    """A picture without any symmetry: red to the right, green downwards, a blue corner at the upper left."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    rgb[..., 0] = np.linspace(0, 200, WIDTH).astype(np.uint8)
    rgb[..., 1] = np.linspace(0, 200, HEIGHT).astype(np.uint8)[:, None]
    rgb[:8, :8, 2] = 255
    return rgb


def grey() -> np.ndarray:
    return np.repeat(np.asarray(Image.fromarray(scene()).convert("L"))[..., None], 3, axis=-1)


def pictures(path: Path, limits: MediaLimits = LIMITS) -> list[np.ndarray]:
    shown = image_times(path, limits, where="a")
    return [picture for _, picture in frames(path, shown.times_s, limits, DecodeReport(), where="a")]


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def turned(orientation: int) -> Image.Image:
    """The scene as a camera stores it that was held as EXIF's number says."""
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    image = Image.fromarray(scene())
    for step in undo[orientation]:
        image = image.transpose(step)
    return image


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def refusal(path: Path) -> MediaError | None:
    try:
        pictures(path)
    except MediaError as error:
        return error
    return None


COLOURED: dict[str, Callable[[Path], Path]] = {
    "jpg": lambda folder: saved(folder / "a.jpg", Image.fromarray(scene()), quality=95, subsampling=0),
    "progressive jpeg": lambda folder: saved(
        folder / "a.jpeg", Image.fromarray(scene()), quality=95, subsampling=0, progressive=True
    ),
    "cmyk": lambda folder: saved(folder / "a.jpg", Image.fromarray(scene()).convert("CMYK"), quality=95),
    "png": lambda folder: saved(folder / "a.png", Image.fromarray(scene())),
    "palette": lambda folder: saved(folder / "a.png", Image.fromarray(scene()).quantize(256)),
    "alpha": lambda folder: saved(folder / "a.png", Image.fromarray(scene()).convert("RGBA")),
    "webp": lambda folder: saved(folder / "a.webp", Image.fromarray(scene()), quality=95),
    "webp without loss": lambda folder: saved(folder / "a.webp", Image.fromarray(scene()), lossless=True),
    "gif of one picture": lambda folder: saved(folder / "a.gif", Image.fromarray(scene())),
    "a jpeg called png": lambda folder: saved(folder / "a.png", Image.fromarray(scene()), format="JPEG", quality=95),
    "two views": lambda folder: saved(
        folder / "a.jpg",
        Image.fromarray(scene()),
        format="MPO",
        save_all=True,
        append_images=[Image.fromarray(255 - scene())],
    ),
    **{
        f"{kind} turned {number}": lambda folder, kind=kind, number=number: saved(
            folder / f"a.{kind}", turned(number), exif=exif(number), **({"quality": 95} if kind != "png" else {})
        )
        for kind in ("jpg", "png", "webp")
        for number in range(1, 9)
    },
}
GREY: dict[str, Callable[[Path], Path]] = {
    "grey jpg": lambda folder: saved(folder / "a.jpg", Image.fromarray(scene()).convert("L"), quality=95),
    "grey png": lambda folder: saved(folder / "a.png", Image.fromarray(scene()).convert("L")),
    "grey with alpha": lambda folder: saved(folder / "a.png", Image.fromarray(scene()).convert("LA")),
    "sixteen bits": lambda folder: saved(folder / "a.png", Image.fromarray(grey()[..., 0].astype(np.uint16) * 257)),
}


@pytest.mark.parametrize("kind", [*COLOURED, *GREY])
def test_a_photograph_is_one_upright_moment_however_it_is_stored(kind: str, tmp_path: Path) -> None:
    path = {**COLOURED, **GREY}[kind](tmp_path)
    probe_media(path)
    assert image_times(path, LIMITS, where="a").is_still
    [picture] = pictures(path)
    expected = scene() if kind in COLOURED else grey()
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(float) - expected).mean() < TOLERANCE


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    rgba = np.dstack([scene(), np.zeros((HEIGHT, WIDTH), np.uint8)])
    rgba[:, WIDTH // 2 :, 3] = 255
    for name, image in {
        "a.png": Image.fromarray(rgba),
        "b.webp": Image.fromarray(rgba),
    }.items():
        [picture] = pictures(saved(tmp_path / name, image))
        assert (picture[:, : WIDTH // 2 - 1] > 250).all(), name
        assert (picture[:, WIDTH // 2 + 1 :, 2] < 60).all(), name


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_several_pictures_are_a_video_by_their_own_clock(suffix: str, tmp_path: Path) -> None:
    levels, each_ms = [40, 120, 200, 250], [100, 300, 0, 200]
    images = [Image.new("RGB", (WIDTH, HEIGHT), (level, level, level)) for level in levels]
    path = saved(tmp_path / f"a.{suffix}", images[0], save_all=True, append_images=images[1:], duration=each_ms, loop=0)
    shown = image_times(path, LIMITS, where="a")
    assert not shown.is_still
    # A picture of no time is shown for a tenth of a second, as browsers do.
    assert shown.times_s == pytest.approx([0.0, 0.1, 0.4, 0.5])
    assert shown.end_s == pytest.approx(0.7)
    assert [int(picture.mean()) for picture in pictures(path)] == pytest.approx(levels, abs=3)
    glances: list[float] = []
    requested_s = shown.times_s[[1, 2]]
    chosen = list(
        frames(path, requested_s, LIMITS, DecodeReport(), where="a", glance=lambda at_s, _: glances.append(at_s))
    )
    assert [(index, int(picture.mean())) for index, picture in chosen] == [
        (0, pytest.approx(120, abs=3)),
        (1, pytest.approx(200, abs=3)),
    ]
    assert glances == pytest.approx([0.0, 0.1, 0.4])


def test_a_photograph_beyond_the_longest_side_is_shrunk_and_one_beyond_twice_that_is_refused(tmp_path: Path) -> None:
    limits = MediaLimits(max_side_px=40)
    for name, options in {"a.jpg": {"quality": 95}, "b.png": {}, "c.webp": {"lossless": True}}.items():
        [picture] = pictures(saved(tmp_path / name, Image.fromarray(scene()), **options), limits)
        assert picture.shape == (HEIGHT // 2, WIDTH // 2, 3)
        half = np.asarray(Image.fromarray(scene()).reduce(2), dtype=float)
        assert np.abs(picture.astype(float) - half).mean() < TOLERANCE
        [upright] = pictures(saved(tmp_path / name, turned(6), exif=exif(6), **options), limits)
        assert upright.shape == picture.shape
    with pytest.raises(MediaError, match=f"seen '{HEIGHT}x{WIDTH}'") as refused:
        pictures(tmp_path / "b.png", MediaLimits(max_side_px=WIDTH // LARGER - 1))
    assert refused.value.code == Code.PICTURE_SIZE
    assert "46 of a photograph" in str(refused.value.allowed)
    bomb = (tmp_path / "b.png").read_bytes().replace((32).to_bytes(4), (2_000_000).to_bytes(4), 1)
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(MediaError) as refused:
        pictures(tmp_path / "bomb.png")
    assert refused.value.code in (Code.PICTURE_SIZE, Code.NOT_MEDIA)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif"])
def test_damage_of_any_kind_is_a_refusal(name: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    whole = saved(tmp_path / name, noise).read_bytes()
    dice = np.random.default_rng(1)
    refusals: list[MediaError] = []
    for number in range(40):
        cut = whole[: int(dice.integers(12, len(whole) - 20))] if number % 2 else bytearray(whole)
        if isinstance(cut, bytearray):
            for place in dice.integers(8, len(whole), 4):
                cut[place] = int(dice.integers(256))
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(cut)
        refusals += [error for error in [refusal(path)] if error is not None]
    assert len(refusals) > 5
    assert {error.code for error in refusals} <= {Code.NOT_MEDIA, Code.TRUNCATED, Code.PICTURE_SIZE}
    assert not [error for error in refusals if str(tmp_path) in str(error)]


def test_a_picture_that_is_cut_off_is_called_so(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        path = saved(tmp_path / name, Image.fromarray(scene()))
        path.write_bytes(path.read_bytes()[:-200] if name == "a.jpg" else path.read_bytes()[:-30])
        with pytest.raises(MediaError, match="is cut off") as refused:
            pictures(path)
        assert refused.value.code == Code.TRUNCATED


def test_jpeg_pictures_end_to_end_have_no_clock_and_a_second_view_is_of_one_moment(tmp_path: Path) -> None:
    single = saved(tmp_path / "a.jpg", Image.fromarray(scene())).read_bytes()
    (tmp_path / "depth.jpg").write_bytes(2 * single)
    assert len(pictures(tmp_path / "depth.jpg")) == 1
    (tmp_path / "a.mjpeg").write_bytes(5 * single)
    with pytest.raises(MediaError, match="motion JPEG without a clock") as refused:
        pictures(tmp_path / "a.mjpeg")
    assert refused.value.code == Code.NOT_MEDIA
    thumbnail = b"\xff\xe1" + (len(single) + 2).to_bytes(2) + single
    (tmp_path / "camera.jpg").write_bytes(single[:2] + thumbnail + single[2:])
    assert len(pictures(tmp_path / "camera.jpg")) == 1


def test_an_animation_is_bounded_like_a_video(tmp_path: Path) -> None:
    images = [Image.new("RGB", (WIDTH, HEIGHT), (level, 0, 0)) for level in (10, 90, 200)]
    path = saved(tmp_path / "a.gif", images[0], save_all=True, append_images=images[1:], duration=1000)
    for limits, code in (
        (MediaLimits(max_decoded_frames=2), Code.TOO_MANY_FRAMES),
        (MediaLimits(max_duration_s=2.5), Code.TOO_LONG),
        (MediaLimits(max_side_px=40), Code.PICTURE_SIZE),
        (MediaLimits(max_bytes=100), Code.TOO_LARGE),
    ):
        with pytest.raises(MediaError) as refused:
            pictures(path, limits)
        assert refused.value.code == code


def test_a_picture_file_has_neither_tracks_nor_stretches(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(scene()))

    def chosen(span: Span | None = None, picture: int | None = None) -> Any:
        choices = Choices(picture=Choice(number=picture))
        return scan_chosen(
            path,
            LIMITS,
            rate_hz=16_000,
            floor_dbfs=-60,
            where="a",
            picture=True,
            sound=True,
            span=span,
            choices=choices,
        )

    scanned = chosen().scan
    assert scanned.pictures.is_still
    assert (scanned.sound, scanned.has_sound_stream, scanned.broke_off) == (None, False, None)
    for refusal, code in (({"span": Span(start_s=1.0, end_s=2.0)}, Code.BAD_SPAN), ({"picture": 2}, Code.NO_TRACK)):
        with pytest.raises(MediaError) as refused:
            chosen(**refusal)
        assert refused.value.code == code


def test_only_files_that_begin_like_a_picture_are_pictures(tmp_path: Path) -> None:
    heads = {
        b"RIFF\0\0\0\0WEBPVP8 ": "WEBP",
        b"RIFF\0\0\0\0AVI LIST": None,
        b"GIF89a": "GIF",
        b"": None,
        b"\xff\xfb": None,
    }
    for number, (head, expected) in enumerate(heads.items()):
        path = tmp_path / str(number)
        path.write_bytes(head)
        assert image_format(path) == expected
    assert image_format(tmp_path) is None
    assert image_format(tmp_path / "absent") is None
    path = saved(tmp_path / "a.png", Image.fromarray(scene()))
    header = MediaReader().header(path)
    assert (len(header.picture_tracks), header.sound_tracks, header.duration_s) == (1, (), None)
