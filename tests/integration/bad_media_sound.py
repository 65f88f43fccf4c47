"""Sound that is broken, hostile, or hardly there."""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile

from tests.alignment.containers import patched, valid
from tests.alignment.media import damage, tone, write_clip
from tests.integration.bad_media import PNG, bytes_of, refused, used

RATE_HZ = 16_000
WAV, FLAC, OGG, MP3 = valid(".wav"), valid(".flac"), valid(".ogg"), valid(".mp3")
ID3 = b"ID3\x03\x00\x00\x00\x00\x07\x76"


def floats(path: Path, samples: np.ndarray) -> None:
    """A wav of 32-bit floating point."""
    soundfile.write(path, samples.astype(np.float32), RATE_HZ, subtype="FLOAT", format="WAV")


def wav(
    *, rate_hz: int = RATE_HZ, channels: int = 1, bits: int = 16, samples: bytes = b"", size: int | None = None
) -> bytes:
    """A wav with any header."""
    align = max(1, channels * bits // 8)
    head = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    length = len(samples) if size is None else size
    return b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + head + b"data" + struct.pack("<I", length) + samples


@used("nan-in-the-middle.wav", "damaged sound")
def _nan(path: Path) -> None:
    samples = tone(1.0, RATE_HZ)
    samples[6000:6100] = np.nan
    floats(path, samples)


@used("infinite-moment.wav", "damaged sound")
def _infinite(path: Path) -> None:
    samples = tone(1.0, RATE_HZ)
    samples[9000] = np.inf
    floats(path, samples)


@refused("nan-only.wav", "truncated")
def _only_nan(path: Path) -> None:
    floats(path, np.full(RATE_HZ, np.nan))


@refused("astronomic.wav", "truncated")
def _astronomic(path: Path) -> None:
    floats(path, tone(1.0, RATE_HZ) * 1e38)


@refused("silent.wav", "coverage")
def _silent(path: Path) -> None:
    soundfile.write(path, np.zeros(RATE_HZ), RATE_HZ)


@used("broken-frames.flac", "missing within the sound")
def _broken_frames(path: Path) -> None:
    write_clip(path, sound=tone(2.0, RATE_HZ), sound_rate_hz=RATE_HZ, audio_codec="flac")
    damage(path, from_s=0.6, to_s=0.9, kind="audio")


@used("clipped.wav", "the sound is clipped")
def _clipped(path: Path) -> None:
    soundfile.write(path, np.clip(tone(1.0, RATE_HZ) * 20, -1, 1), RATE_HZ)


refused("one-sample.wav", "truncated")(bytes_of(wav(samples=b"\x00\x10")))
refused("header-only.wav", "truncated")(bytes_of(wav()))
refused("half-a-header.wav", "not-media")(bytes_of(WAV[:20]))
refused("no-data.wav", "not-media")(bytes_of(WAV[:36]))
used("stream-without-size.wav")(bytes_of(wav(samples=WAV[-32_000:], size=0xFFFFFFFF)))
refused("channels-65535.wav", "truncated")(bytes_of(wav(channels=65_535, samples=bytes(200_000))))
refused("no-channels.wav", "truncated")(bytes_of(wav(channels=0, samples=bytes(200_000))))
refused("rate-0.wav", "not-media")(bytes_of(wav(rate_hz=0, samples=bytes(200_000))))
refused("rate-1.wav", "too-long")(bytes_of(wav(rate_hz=1, samples=bytes(200_000))))
refused("rate-4-billion.wav", "sample-rate")(bytes_of(wav(rate_hz=0x7FFFFFFF, samples=bytes(200_000))))
refused("bits-0.wav", "no-streams")(bytes_of(wav(bits=0, samples=bytes(200_000))))
refused("noise.flac", "not-media")(bytes_of(b"fLaC" + bytes(range(256)) * 8))
used("rate-0.flac")(bytes_of(patched(FLAC, 18, bytes(3))))
used("endless.flac")(bytes_of(patched(FLAC, 21, b"\xff" * 5)))
used("cut.flac")(bytes_of(FLAC[: len(FLAC) * 3 // 4]))
refused("crc-wrong.ogg", "not-media")(bytes_of(patched(OGG, 22, b"\xde\xad\xbe\xef")))
used("crc-wrong-later.ogg")(bytes_of(patched(OGG, OGG.rindex(b"OggS") + 22, b"\xde\xad\xbe\xef")))
refused("id3-only.mp3", "not-media")(bytes_of(ID3 + bytes(1024)))
refused("id3-huge.mp3", "not-media")(bytes_of(b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + bytes(1024)))
used("id3-of-another-time.mp3")(bytes_of(ID3 + bytes(1014) + MP3))


@refused("cover-only.mp3", "not-media")
def _cover_only(path: Path) -> None:
    path.write_bytes(cover(png(1, 1)))


@used("cover-bomb.mp3")
def _cover_bomb(path: Path) -> None:
    """A song whose cover unfolds to 400 megapixels."""
    path.write_bytes(cover(png(20_000, 20_000)) + MP3)


def cover(picture: bytes) -> bytes:
    """An ID3v2.3 tag with a picture and nothing else."""
    data = b"\x00image/png\x00\x03\x00" + picture
    frame = b"APIC" + struct.pack(">IH", len(data), 0) + data
    return b"ID3\x03\x00\x00" + bytes([len(frame) >> shift & 127 for shift in (21, 14, 7, 0)]) + frame


@refused("hours-of-silence.flac", "too-long")
def _hours(path: Path) -> None:
    """Two hours in a few kilobytes a minute, whose header does not say so."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=8_000, layout="mono")
        stream.codec_context.options = {"frame_size": "65535"}
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 60_000), np.int16), format="s16", layout="mono")
        for k in range(120):
            frame.sample_rate, frame.pts = 8_000, k * 60_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    path.write_bytes(patched(data, 21, bytes([data[21] & 0xF0]) + bytes(4)))


@refused("silent-subtitles.mkv", "no-streams")
def _subtitles(path: Path) -> None:
    subtitles(path, 3)


@refused("subtitle-bomb.mkv", "no-streams")
def _subtitle_bomb(path: Path) -> None:
    subtitles(path, 20_000)


def subtitles(path: Path, count: int) -> None:
    """A file of subtitles and nothing else."""
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("srt")
        stream.time_base = Fraction(1, 1000)
        stream.codec_context.subtitle_header = b"[Script Info]\n[V4+ Styles]\n[Events]\n"
        for k in range(count):
            packet = av.Packet(b"words " * 50)
            packet.stream, packet.time_base = stream, stream.time_base
            packet.pts = packet.dts = k * 10
            packet.duration = 10
            container.mux(packet)


@cache
def png(width: int, height: int) -> bytes:
    """A black one-bit PNG: 400 megapixels are 50 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join([*(packer.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)), packer.flush()])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return PNG + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
