"""Clips that tests write with PyAV: every picture and sample at a time the test chooses."""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

TIME_BASE = Fraction(1, 12_800)
AUDIO_FRAME = 1024
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 6: "5.1"}
WHOLE_RATES = frozenset({"mpeg2video", "flv"})  # their headers hold a frame rate, and times are its multiples
MATRIX_AFTER_VERSION = 40  # bytes from the version of a tkhd box (version 0) to its 3x3 matrix

Picture = NDArray[np.uint8]


def draw_face(
    width: int = 256,
    height: int = 256,
    *,
    centre: tuple[float, float] = (0.5, 0.5),
    side: float = 0.6,
    smile: float = 0.3,
) -> Picture:
    """A plain drawn face that MTCNN finds; `side` is its height as a share of the picture's, RGB."""
    scale = 2
    w, h = width * scale, height * scale
    rgb = np.full((h, w, 3), (118, 132, 150), dtype=np.uint8)
    cx, cy, r = centre[0] * w, centre[1] * h, side * h / 2

    def at(dx: float, dy: float) -> tuple[int, int]:
        return round(cx + dx * r), round(cy + dy * r)

    def size(x: float, y: float) -> tuple[int, int]:
        return max(1, round(x * r)), max(1, round(y * r))

    skin, shade, hair, dark = (224, 180, 150), (196, 148, 120), (60, 42, 30), (40, 26, 22)
    cv2.rectangle(rgb, at(-0.35, 0.7), (round(cx + 0.35 * r), h), shade, -1)
    cv2.ellipse(rgb, at(0, -0.22), size(0.86, 0.98), 0, 0, 360, hair, -1)
    cv2.ellipse(rgb, at(0, 0.05), size(0.72, 0.95), 0, 0, 360, skin, -1)
    for side_x in (-1, 1):
        eye = at(0.3 * side_x, -0.1)
        cv2.ellipse(rgb, at(0.3 * side_x, -0.12), size(0.2, 0.13), 0, 0, 360, shade, -1)
        cv2.ellipse(rgb, eye, size(0.15, 0.08), 0, 0, 360, (250, 250, 250), -1)
        cv2.circle(rgb, eye, size(0.075, 0)[0], dark, -1)
        cv2.ellipse(rgb, at(0.3 * side_x, -0.27), size(0.2, 0.09), 0, 190, 350, hair, max(1, round(0.06 * r)))
    cv2.line(rgb, at(0, -0.05), at(-0.06, 0.24), shade, max(1, round(0.05 * r)))
    cv2.ellipse(rgb, at(0, 0.27), size(0.13, 0.06), 0, 0, 180, shade, -1)
    cv2.ellipse(rgb, at(0, 0.5), size(0.28, max(0.02, 0.3 * smile)), 0, 0, 180, (170, 60, 70), -1)
    cv2.line(rgb, at(-0.28, 0.5), at(0.28, 0.5), dark, max(1, round(0.04 * r)))
    blurred = cv2.GaussianBlur(rgb, (0, 0), 1.2 * scale)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def grey(level: int, width: int = 64, height: int = 64) -> Picture:
    """A flat picture whose level says which one it is."""
    return np.full((height, width, 3), level, dtype=np.uint8)


def tone(seconds: float, rate_hz: int = 48_000, *, hz: float = 300.0, level: float = 0.3) -> NDArray[np.float32]:
    """A sine, (N,) float32."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def clicks(seconds: float, at_s: Sequence[float], rate_hz: int = 48_000) -> NDArray[np.float32]:
    """Silence with bursts of 5 ms that start at the given times."""
    signal = np.zeros(round(seconds * rate_hz), dtype=np.float32)
    burst = tone(0.005, rate_hz, hz=1000.0, level=0.9)
    for time_s in at_s:
        first = round(time_s * rate_hz)
        signal[first : first + burst.size] = burst[: signal.size - first]
    return signal


def write_clip(
    path: Path,
    *,
    pictures: Sequence[Picture] = (),
    times_s: Sequence[float] | None = None,
    fps: float = 25.0,
    sound: NDArray[np.float32] | None = None,
    sound_rate_hz: int = 48_000,
    sound_channels: int = 1,
    sound_start_s: float = 0.0,
    sound_gaps: Sequence[tuple[float, float]] = (),
    sound_clock: float = 1.0,
    sound_jitter_s: float = 0.0,
    sound_frame: int = AUDIO_FRAME,
    sound_weights: Sequence[float] | None = None,
    video_codec: str = "libx264",
    audio_codec: str = "aac",
    gop: int = 250,
    faststart: bool = False,
    pixel_ratio: float = 1.0,
) -> Path:
    """Writes a media file; the container follows from the suffix.

    `times_s` are the presentation times of the pictures (default: k / fps). Frames of sound that begin in one of
    `sound_gaps` are left out while the timestamps go on; `sound_clock` is timestamp seconds a counted second,
    `sound_weights` the signal's in each channel (default: 1). The stamps of frames of `sound_frame` samples are off by
    up to `sound_jitter_s` either way, as far as they ascend.
    `pixel_ratio` is the width of a pixel over its height, as the header says it.
    """
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as container:
        video = audio = None
        if len(pictures):
            video = container.add_stream(video_codec, rate=Fraction(fps).limit_denominator(1001))
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "rgb24" if video_codec == "libx264rgb" else "yuv420p"
            video.codec_context.gop_size = gop
            if pixel_ratio != 1.0:
                video.codec_context.sample_aspect_ratio = Fraction(pixel_ratio).limit_denominator(1000)
            whole = video_codec in WHOLE_RATES or (path.suffix == ".avi" and video_codec == "libx264")
            if not whole:
                video.codec_context.time_base = TIME_BASE
                video.time_base = TIME_BASE
            if video_codec == "libx264":
                video.options = {"preset": "veryfast", "crf": "18"}
            elif video_codec == "mpeg4":
                video.options = {"qmin": "1", "qmax": "1"}
                video.bit_rate = 20_000_000
        if sound is not None:
            layout = layout_of(sound_channels)
            audio = container.add_stream(audio_codec, rate=sound_rate_hz, layout=layout)
            audio.codec_context.time_base = Fraction(1, sound_rate_hz)
        if video is not None:
            stamps = times_s if times_s is not None else [k / fps for k in range(len(pictures))]
            for picture, time_s in zip(pictures, stamps, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                base = 1 / Fraction(fps).limit_denominator(1001) if whole else TIME_BASE
                frame.pts, frame.time_base = round(time_s / base), base
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and sound is not None:
            counted_s = np.arange(sound.size) / sound_rate_hz
            stamps_s = sound_start_s + sound_clock * counted_s
            for begin, end in sound_gaps:
                stamps_s[(begin <= counted_s) & (counted_s < end)] = np.nan
            if sound_jitter_s:
                stamps_s[::sound_frame] = jittered(stamps_s[::sound_frame], sound_jitter_s)
            for frame in _sound_frames(
                sound,
                stamps_s,
                rate_hz=sound_rate_hz,
                layout=layout,
                sample_format=audio.format.name,
                size=sound_frame,
                weights=sound_weights or [1.0] * sound_channels,
            ):
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def jittered(stamps_s: NDArray[np.float64], most_s: float, seed: int = 0) -> NDArray[np.float64]:
    """Stamps (N,) that are off by up to `most_s` either way and do not descend; the first is not before zero."""
    off = np.random.default_rng(seed).uniform(-most_s, most_s, stamps_s.size)
    return np.fmax.accumulate(np.maximum(stamps_s + off, 0.0)) + 0.0 * stamps_s


def layout_of(channels: int) -> str:
    """The layout of so many channels, as FFmpeg writes it."""
    return LAYOUTS.get(channels, f"{channels} channels")


def _sound_frames(
    sound: NDArray[np.float32],
    times_s: NDArray[np.float64],
    *,
    rate_hz: int,
    layout: str,
    sample_format: str,
    size: int = AUDIO_FRAME,
    weights: Sequence[float] = (1.0,),
) -> list[av.AudioFrame]:
    """Audio frames of a mono signal whose k-th sample is stamped `times_s[k]`; samples stamped NaN are left out."""
    frames = []
    for first in range(0, sound.size, size):
        if np.isnan(times_s[first]):
            continue
        part = sound[first : first + size]
        each = np.array(weights, dtype=np.float32)[:, None] * part
        shaped = each if sample_format.endswith("p") else each.T.reshape(1, -1)
        if sample_format.startswith("s32"):
            shaped = (shaped * (2**31 - 1)).astype(np.int32)
        elif not sample_format.startswith("flt"):
            shaped = (shaped * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(shaped), format=sample_format, layout=layout)
        frame.sample_rate = rate_hz
        frame.time_base = Fraction(1, rate_hz)
        frame.pts = round(times_s[first] * rate_hz)
        frames.append(frame)
    return frames


def rotate(path: Path, degrees_clockwise: int) -> Path:
    """Writes a display matrix into the first track header, as phones do for portrait clips."""
    return lay(path, {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees_clockwise])


def lay(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """Writes a display matrix into the first track header: a pixel (p, q) is shown at (a p + c q, b p + d q)."""
    a, b, c, d = (round(value * (1 << 16)) for value in matrix)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + MATRIX_AFTER_VERSION
    packed = b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30))
    data[start : start + len(packed)] = packed
    path.write_bytes(data)
    return path


def write_tracks(
    path: Path,
    *,
    pictures: Sequence[Sequence[Picture]] = (),
    sounds: Sequence[NDArray[np.float32]] = (),
    default_picture: int = 1,
    default_sound: int = 1,
    tags: Sequence[dict[str, str]] = (),
    rate_hz: int = 16_000,
) -> Path:
    """A Matroska file of several tracks at 25 pictures a second and of mono sound; numbers count from 1, 0 is none.
    `tags` are those of the sound tracks."""
    with av.open(str(path), "w", options={"default_mode": "passthrough"}) as container:
        shown, heard = [], []
        for number, track in enumerate(pictures, start=1):
            video = container.add_stream("mpeg4", rate=25)
            video.height, video.width = track[0].shape[:2]
            video.pix_fmt = "yuv420p"
            video.disposition = int(number == default_picture)
            shown.append((video, track))
        for number, signal in enumerate(sounds, start=1):
            audio = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
            audio.disposition = int(number == default_sound)
            audio.metadata.update(tags[number - 1] if tags else {})
            heard.append((audio, signal))
        packets = []
        for video, track in shown:
            for number, picture in enumerate(track):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += video.encode(frame)
            packets += video.encode(None)
        for audio, signal in heard:
            times_s = np.arange(signal.size) / rate_hz
            for frame in _sound_frames(signal, times_s, rate_hz=rate_hz, layout="mono", sample_format="s16"):
                packets += audio.encode(frame)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
            container.mux(packet)
    return path


def write_sizes(path: Path, parts: Sequence[Sequence[Picture]], *, codec: str = "libvpx", fps: int = 25) -> Path:
    """A video whose picture changes its size from part to part, as calls over the web do."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = parts[0][0].shape[:2]
        stream.pix_fmt = "yuv420p"
        number = 0
        for part in parts:
            encoder = av.CodecContext.create(codec, "w")
            encoder.height, encoder.width = part[0].shape[:2]
            encoder.pix_fmt, encoder.framerate, encoder.time_base = "yuv420p", Fraction(fps), Fraction(1, fps)
            encoder.bit_rate = 8_000_000
            encoder.options = (
                {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {"preset": "ultrafast"}
            )
            frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24") for picture in part]
            for frame in [*frames, None]:
                if frame is not None:
                    frame.pts, frame.time_base, number = number, Fraction(1, fps), number + 1
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
    return path


def wav_of_channels(path: Path, channels: NDArray[np.float32], rate_hz: int = 16_000) -> Path:
    """A wav file without a layout, as field recorders write them; `channels` (N, n) float32."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels.shape[0])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((channels.T * 32767).astype("<i2").tobytes())
    return path


def damage(path: Path, *, from_s: float, to_s: float, kind: str = "video") -> Path:
    """Overwrites the bytes of the packets of a stream that are shown within a span."""
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)
        spans = [
            (packet.pos, packet.size)
            for packet in container.demux(stream)
            if packet.pts is not None and packet.pos is not None and from_s <= packet.pts * packet.time_base < to_s
        ]
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for position, size in spans:
        data[position : position + size] = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    return path


def wav(path: Path, signal: NDArray[np.float32], rate_hz: int = 16_000) -> Path:
    """A 16-bit wav file."""
    return write_clip(path, sound=signal, sound_rate_hz=rate_hz, audio_codec="pcm_s16le")


def jpeg(data: bytes) -> Picture:
    """A crop as RGB."""
    bgr = cv2.imdecode(np.frombuffer(io.BytesIO(data).getbuffer(), dtype=np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
