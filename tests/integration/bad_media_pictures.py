"""Pictures that are broken, enormous, or too many."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from tests.alignment.containers import moving, patched, valid, write
from tests.alignment.media import damage, grey, tone, write_clip
from tests.integration.bad_media import bytes_of, refused, used
from tests.integration.bad_media_sound import png

AVI, MKV, FLV = valid(".avi"), valid(".mkv"), valid(".flv")
FORMATS = {"png": "rgb24", "mjpeg": "yuvj420p"}
MILLISECOND = Fraction(1, 1000)


def film(
    path: Path,
    packets: Sequence[bytes],
    *,
    codec: str,
    width: int,
    height: int,
    times: Sequence[int] | None = None,
    base: Fraction = MILLISECOND,
) -> Path:
    """A film of packets that are encoded already, 25 a second or at these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, FORMATS[codec]
        stream.time_base = base
        for k, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, base, True
            packet.pts = packet.dts = times[k] if times is not None else 40 * k
            container.mux(packet)
    return path


def jpeg(width: int = 64, height: int = 64) -> bytes:
    """A picture."""
    return bytes(cv2.imencode(".jpg", moving(1, width, height)[0])[1].tobytes())


def jpeg_that_says(width: int, height: int) -> bytes:
    """A small picture whose header says that it is another size."""
    data = jpeg()
    return patched(data, data.index(b"\xff\xc0") + 5, height.to_bytes(2, "big") + width.to_bytes(2, "big"))


@refused("20000x20000.mov", "picture-size")
def _enormous(path: Path) -> None:
    film(path, [png(20_000, 20_000)] * 5, codec="png", width=64, height=64)
    data = path.read_bytes()
    path.write_bytes(patched(data, data.index(b"png ") + 28, (20_000).to_bytes(2, "big") * 2))


@refused("small-says-the-film.mov", "coverage")
def _lies_small(path: Path) -> None:
    """A film of 64x64 whose pictures unfold to 400 megapixels each."""
    film(path, [png(20_000, 20_000)] * 25, codec="png", width=64, height=64)


@refused("65500x65500.avi", "picture-size")
def _mjpeg_bomb(path: Path) -> None:
    film(path, [jpeg_that_says(65_500, 65_500)] * 25, codec="mjpeg", width=64, height=64)
    data = path.read_bytes()
    path.write_bytes(patched(data, data.index(b"strf") + 12, (65_500).to_bytes(4, "little") * 2))


@refused("jpeg-bomb.avi", "coverage")
def _jpeg_lies(path: Path) -> None:
    film(path, [jpeg_that_says(65_500, 65_500)] * 25, codec="mjpeg", width=64, height=64)


@used("one-bad-picture.avi", "damaged pictures")
def _one_bomb(path: Path) -> None:
    film(path, [*[jpeg()] * 12, jpeg_that_says(65_500, 65_500), *[jpeg()] * 12], codec="mjpeg", width=64, height=64)


@refused("grows.avi", "picture-size")
def _grows(path: Path) -> None:
    """Pictures that become larger than a picture may be on the way."""
    film(path, [*[jpeg()] * 12, *[jpeg(4112, 16)] * 12], codec="mjpeg", width=64, height=64)


@refused("1000000-pictures-a-second.mkv", "timestamps")
def _fast(path: Path) -> None:
    film(path, [jpeg()] * 400, codec="mjpeg", width=64, height=64, times=[k // 4 for k in range(400)])


@refused("1000000-in-the-header.avi", "frame-rate")
def _fast_header(path: Path) -> None:
    at = AVI.index(b"strh") + 8 + 20  # dwScale, dwRate of the first stream
    path.write_bytes(patched(AVI, at, (1).to_bytes(4, "little") + (1_000_000).to_bytes(4, "little")))


refused("rate-0-in-the-header.avi", "frame-rate")(bytes_of(patched(AVI, AVI.index(b"strh") + 28, bytes(8))))
used("0x0.avi")(bytes_of(patched(AVI, AVI.index(b"strf") + 12, bytes(8))))


@refused("too-many-pictures.mkv", "too-many-frames")
def _many(path: Path) -> None:
    film(path, [jpeg(16, 16)] * 2001, codec="mjpeg", width=16, height=16, times=[5 * k for k in range(2001)])


@refused("minutes-of-work.mov", "too-slow")
def _slow(path: Path) -> None:
    """Fifty seconds of black that take minutes to decode: 32 billion pixels in four megabytes."""
    film(path, [png(4096, 4096)] * 1900, codec="png", width=4096, height=4096, times=[25 * k for k in range(1900)])


@used("broken-in-the-middle.mp4", "damaged pictures")
def _broken(path: Path) -> None:
    damage(write(path, seconds=2.0, gop=10), from_s=0.8, to_s=1.2)


@used("broken-all-along.avi", "damaged pictures")
def _sprinkled(path: Path) -> None:
    data = bytearray(AVI)
    for at in range(8_000, len(data) - 2_000, 997):
        data[at] ^= 0x55
    path.write_bytes(bytes(data))


@refused("black.mp4", "coverage")
def _black(path: Path) -> None:
    write_clip(path, pictures=[grey(0)] * 25)


@used("a-single-picture.mkv", "a still picture")
def _single(path: Path) -> None:
    film(path, [jpeg()], codec="mjpeg", width=64, height=64)


used("photograph.jpg", "a still picture")(bytes_of(jpeg()))
used("photograph-called-video.mp4", "a still picture")(bytes_of(jpeg()))
refused("photograph-cut.jpg", "truncated")(bytes_of(jpeg()[:-200]))
refused("photograph-bomb.png", "picture-size")(bytes_of(png(20_000, 20_000)))
refused("photograph-lies.jpg", "picture-size")(bytes_of(jpeg_that_says(65_500, 65_500)))


used("cut.mkv")(bytes_of(MKV[: len(MKV) * 2 // 3]))
used("cut.flv")(bytes_of(FLV[: len(FLV) * 2 // 3]))
used("cut.avi")(bytes_of(AVI[: len(AVI) * 2 // 3]))
refused("head.mkv", "not-media")(bytes_of(MKV[:60]))
refused("head.flv", "not-media")(bytes_of(FLV[:13]))
refused("head.avi", "not-media")(bytes_of(AVI[:60]))


@used("clusters-without-size.mkv")
def _live(path: Path) -> None:
    """As a live stream is written: no length anywhere."""
    with av.open(str(path), "w", options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for picture in moving(25):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@used("a-hundred-streams.mkv")
def _many_streams(path: Path) -> None:
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(100)]
        samples = (tone(0.5, 16_000) * 32767).astype(np.int16)
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


used("longer-than-anything.mkv")(
    # Duration (EBML id 0x4489), a float of eight bytes.
    bytes_of(patched(MKV, MKV.index(b"\x44\x89\x88") + 3, struct.pack(">d", 1e12)))
)
