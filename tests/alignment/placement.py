"""Where alignment puts planted events: flashes on a moving pattern and chirps, in every kind of file there is.

`python -m tests.alignment.placement` prints the table of errors that stands in `docs/benchmarks/alignment.md`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from components.alignment.align import Aligner
from components.contracts.config import Alignment, FaceAlignment, VoiceAlignment
from components.contracts.records import AlignedClip
from tests.alignment.media import AUDIO_FRAME, Picture, jpeg, lay, rotate, write_clip, write_sizes
from tests.builders import make_clip

GRID_HZ = 100.0  # the finest grid there is, so that a step is finer than a frame
FINE = Alignment(
    rate_hz=GRID_HZ,
    face=FaceAlignment(detector="whole_frame", crop_px=32),
    voice=VoiceAlignment(activity="energy"),
    av_offset=False,
)
FLASH_S = 0.25
FLASH_LEVEL = 90
CHIRP_S = 0.04
CHIRP_HZ = (600.0, 2400.0)  # within what 8 kHz can hold
SEARCH_S = 0.3
MAX_SOUND_ERROR_S = 0.010


@dataclass(frozen=True, kw_only=True)
class Case:
    """One file. Times are the container's; the events are planted at shares of the clip.

    `parts` times the same file is put end to end, so that its clock starts again.
    """

    name: str
    group: str
    suffix: str = "mp4"
    duration_s: float = 4.0
    fps: float = 25.0
    frame_times: Callable[[float], NDArray[np.float64]] | None = None
    picture_start_s: float = 0.0
    video_codec: str = "libx264"
    rotation: int = 0
    matrix: tuple[int, int, int, int] | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    silent_first: bool = False
    weights: tuple[float, ...] | None = None
    sound: bool = True
    sound_rate_hz: int = 48_000
    channels: int = 2
    audio_codec: str = "aac"
    sound_start_s: float = 0.0
    sound_clock: float = 1.0
    sound_gaps: tuple[tuple[float, float], ...] = ()
    sound_jitter_s: float = 0.0
    sound_frame: int = AUDIO_FRAME
    parts: int = 1
    events: tuple[float, ...] = (0.2, 0.5, 0.85)
    width: int = 64
    height: int = 48


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Errors in seconds (estimate minus truth) of the flashes and the chirps, and the frame interval at each flash."""

    clip: AlignedClip
    picture_s: NDArray[np.float64]
    frame_s: NDArray[np.float64]
    sound_s: NDArray[np.float64]


def variable(low_hz: float = 14.0, high_hz: float = 60.0, seed: int = 0) -> Callable[[float], NDArray[np.float64]]:
    """Frame times whose every interval is drawn between 1 / high_hz and 1 / low_hz."""

    def times(duration_s: float) -> NDArray[np.float64]:
        drawn = np.random.default_rng(seed).uniform(1 / high_hz, 1 / low_hz, int(duration_s * high_hz))
        at = np.concatenate([[0.0], np.cumsum(drawn)])
        return at[at < duration_s]

    return times


def dropping(fps: float, share: float, seed: int = 0) -> Callable[[float], NDArray[np.float64]]:
    """Regular frame times of which a share is lost, one here and a few there."""

    def times(duration_s: float) -> NDArray[np.float64]:
        at = np.arange(round(duration_s * fps)) / fps
        kept = np.random.default_rng(seed).random(at.size) >= share
        kept[0] = True
        return at[kept]

    return times


def chirp(rate_hz: int) -> NDArray[np.float32]:
    """A rising tone under a Hann window: its matched filter has one sharp peak."""
    at = np.arange(round(CHIRP_S * rate_hz)) / rate_hz
    low, high = CHIRP_HZ
    phase = 2 * np.pi * (low * at + (high - low) / (2 * CHIRP_S) * at**2)
    return (0.7 * np.sin(phase) * np.hanning(at.size)).astype(np.float32)


def pattern(width: int, height: int, time_s: float, *, flash: bool) -> Picture:
    """Bars that move, so that no two pictures are the same; a flash is bright all over."""
    x = np.arange(width)[None, :] + 40.0 * time_s
    row = 90 + 40 * np.sin(2 * np.pi * x / 16)
    picture = np.repeat(np.repeat(row, height, axis=0)[..., None], 3, axis=2)
    return np.clip(picture + (FLASH_LEVEL if flash else 0), 0, 255).astype(np.uint8)


def render(case: Case, folder: Path) -> tuple[Path, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Writes a case's file; returns it, when flashes and chirps are on the clip's clock, and the frame intervals."""
    made = case.frame_times(case.duration_s) if case.frame_times else np.arange(0, case.duration_s, 1 / case.fps)
    times = made[made < case.duration_s - 1e-9] + case.picture_start_s
    planted = np.array(case.events) * case.duration_s
    flashes = np.array([int(np.searchsorted(times, case.picture_start_s + at - 1e-9)) for at in planted])
    lit = [any(0 <= time - times[first] < FLASH_S for first in flashes) for time in times]
    pictures = [pattern(case.width, case.height, time, flash=bright) for time, bright in zip(times, lit, strict=True)]
    if case.rotation:
        pictures = [np.ascontiguousarray(np.rot90(picture, case.rotation // 90)) for picture in pictures]
    if case.matrix:
        pictures = [stored(picture, case.matrix) for picture in pictures]
    signal = None
    chirps_s = np.zeros(0)
    if case.sound:
        signal = (0.01 * np.random.default_rng(1).standard_normal(round(case.duration_s * case.sound_rate_hz))).astype(
            np.float32
        )
        burst = chirp(case.sound_rate_hz)
        firsts = [round(at * case.sound_rate_hz) for at in planted]
        for first in firsts:
            signal[first : first + burst.size] += burst[: signal.size - first]
        chirps_s = case.sound_start_s + case.sound_clock * np.array(firsts) / case.sound_rate_hz
    path = folder / f"{case.name}.{case.suffix}"
    if case.sizes:
        write_sizes(path, in_sizes(pictures, case.sizes), codec=case.video_codec, fps=round(case.fps))
    else:
        write_clip(
            path,
            pictures=pictures,
            times_s=times.tolist(),
            fps=case.fps,
            video_codec=case.video_codec,
            sound=signal,
            sound_rate_hz=case.sound_rate_hz,
            sound_channels=case.channels,
            sound_start_s=case.sound_start_s,
            sound_clock=case.sound_clock,
            sound_gaps=case.sound_gaps,
            sound_jitter_s=case.sound_jitter_s,
            sound_frame=case.sound_frame,
            audio_codec=case.audio_codec,
            sound_weights=case.weights,
        )
    if case.rotation:
        rotate(path, case.rotation)
    if case.matrix:
        lay(path, case.matrix)
    if case.silent_first:
        put_silence_first(path)
    moved_s, first_s = muxed(path, times)
    # Of AVI plain decoding finds a guess of FFmpeg's; what is stored begins with the file.
    origin_s = 0.0 if (case.suffix, case.video_codec) == ("avi", "libx264") else first_s - moved_s
    intervals = np.diff(times, append=times[-1] + 1 / case.fps)
    before = np.concatenate([[intervals[0]], np.diff(times)])
    frame_s = np.maximum(intervals, before)[flashes] if times.size > 1 else np.full(flashes.size, 1 / case.fps)
    path.write_bytes(case.parts * path.read_bytes())
    later_s = [part * case.duration_s - origin_s for part in range(case.parts)]
    flashes_s, chirps_s = (np.concatenate([at_s + by_s for by_s in later_s]) for at_s in (times[flashes], chirps_s))
    return path, flashes_s, chirps_s, np.tile(frame_s, case.parts)


def stored(shown: Picture, matrix: tuple[int, int, int, int]) -> Picture:
    """The picture that a display matrix shows as `shown`: a stored pixel (p, q) is shown at (a p + c q, b p + d q)."""
    a, b, c, d = matrix
    height, width = shown.shape[:2] if a else shown.shape[1::-1]
    q, p = np.mgrid[0:height, 0:width]
    x, y = a * p + c * q, b * p + d * q
    return np.ascontiguousarray(shown[y - y.min(), x - x.min()])


def in_sizes(pictures: list[Picture], sizes: tuple[tuple[int, int], ...]) -> list[list[Picture]]:
    """The pictures in as many equal parts as there are sizes, each in its own."""
    parts = np.array_split(np.arange(len(pictures)), len(sizes))
    return [
        [np.asarray(cv2.resize(pictures[k], size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for k in part]
        for part, size in zip(parts, sizes, strict=True)
    ]


def put_silence_first(path: Path) -> None:
    """Puts a silent sound track, which is the default one, before that of the file."""
    source = path.rename(path.with_stem(f"{path.stem}_voice"))
    with av.open(str(source)) as voice, av.open(str(path), "w") as container:
        video = container.add_stream_from_template(voice.streams.video[0])
        silence = container.add_stream("aac", rate=16_000, layout="mono")
        silence.disposition = 1
        sound = container.add_stream_from_template(voice.streams.audio[0])
        sound.disposition = 0
        copies = {voice.streams.video[0].index: video, voice.streams.audio[0].index: sound}
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 0
        container.mux([*silence.encode(frame), *silence.encode(None)])
        for packet in voice.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)


def muxed(path: Path, times_s: NDArray[np.float64]) -> tuple[float, float]:
    """(how far the muxer moved the timestamps, the file's first one), as plain decoding finds them.

    A container that cannot say which samples are the encoder's own padding keeps them as sound, and moves everything
    behind them: there a clip's zero lies that much (20 to 50 ms) before its first picture.
    """
    with av.open(str(path)) as file:
        shown = [float(frame.pts * frame.time_base) for frame in file.decode(video=0)]
    starts = [min(shown)]
    with av.open(str(path)) as file:
        if file.streams.audio:
            heard = next(file.decode(audio=0))
            starts.append(float(heard.pts * heard.time_base))
    return float(np.median(np.sort(shown) - times_s)), min(starts)


def seen_at(clip: AlignedClip, expected_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """When the crops become bright, the onset nearest to each expected one."""
    level = np.array([np.nan if data is None else float(jpeg(data).mean()) for data in clip.face_jpeg])
    bright = level > 90 + FLASH_LEVEL / 2
    known = ~np.isnan(level)
    previous = np.concatenate([[False], bright[:-1]])
    onsets = np.nonzero(bright & known & ~previous)[0] / clip.grid.rate_hz
    return np.array([onsets[np.argmin(np.abs(onsets - at))] for at in expected_s])


def heard_at(clip: AlignedClip, expected_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """When the chirps begin, by the peak of the matched filter within SEARCH_S of each expected one."""
    template = chirp(clip.audio_rate_hz)
    reach = round(SEARCH_S * clip.audio_rate_hz)
    found = []
    for at in expected_s:
        first = round(at * clip.audio_rate_hz) - reach
        part = np.zeros(2 * reach + template.size)
        begin, end = max(first, 0), min(first + part.size, clip.pcm.size)
        part[begin - first : end - first] = clip.pcm[begin:end]
        found.append((first + int(np.argmax(np.correlate(part, template, "valid")))) / clip.audio_rate_hz)
    return np.array(found)


def placed(case: Case, folder: Path, aligner: Aligner) -> Placed:
    """Renders a case, aligns it and measures where its events came to lie."""
    path, flashes_s, chirps_s, frame_s = render(case, folder)
    clip = aligner.align(make_clip(video_path=path.name), root=folder)
    return Placed(
        clip=clip,
        picture_s=seen_at(clip, flashes_s) - flashes_s,
        frame_s=frame_s,
        sound_s=heard_at(clip, chirps_s) - chirps_s,
    )


def _cases() -> list[Case]:
    pcm = {"suffix": "mkv", "audio_codec": "pcm_s16le"}
    cases = [
        Case(name=f"fps_{fps:g}", group="frame rates 14 to 60", fps=fps)
        for fps in (14.0, 15.0, 24_000 / 1001, 25.0, 30_000 / 1001, 50.0, 60.0)
    ]
    cases += [
        Case(
            name=f"vfr_{seed}_{suffix}",
            group="variable frame rates, 14 to 60",
            suffix=suffix,
            frame_times=variable(seed=seed),
        )
        for seed, suffix in ((0, "mp4"), (1, "mkv"), (2, "mov"))
    ]
    cases += [
        Case(name=f"dropped_{share:.0%}", group="dropped frames", frame_times=dropping(30.0, share), fps=30.0)
        for share in (0.1, 0.4)
    ]
    containers = (
        ("mov", "libx264", "aac"), ("mkv", "libx264", "flac"), ("webm", "libvpx", "opus"),
        ("avi", "mpeg4", "libmp3lame"),
        ("flv", "libx264", "aac"), ("ts", "libx264", "aac"), ("mpg", "mpeg2video", "mp2"), ("mp4", "libx265", "aac"),
        ("mkv", "mpeg4", "ac3"), ("flv", "flv", "libmp3lame"),
    )  # fmt: skip
    cases += [
        Case(
            name=f"{suffix}_{video}_{audio}", group="containers and codecs", suffix=suffix, video_codec=video,
            audio_codec=audio, sound_rate_hz=44_100 if suffix == "flv" else 48_000,
        )
        for suffix, video, audio in containers
    ]  # fmt: skip
    cases += [
        Case(
            name=f"aac_{rate}_{channels}", group="sound 8 to 48 kHz, mono to 5.1", sound_rate_hz=rate, channels=channels
        )
        for rate, channels in ((8_000, 1), (11_025, 1), (16_000, 2), (22_050, 1), (32_000, 2), (44_100, 3), (48_000, 6))
    ]
    cases += [
        Case(
            name=f"pcm_{rate}_{channels}",
            group="sound 8 to 48 kHz, mono to 5.1",
            sound_rate_hz=rate,
            channels=channels,
            **pcm,
        )
        for rate, channels in ((8_000, 1), (44_100, 4), (48_000, 6))
    ]
    cases += [
        Case(name=f"late_sound_{late}_{rate}", group="sound that starts late", sound_start_s=late, sound_rate_hz=rate)
        for late, rate in ((0.3, 48_000), (1.2, 44_100), (0.5, 16_000), (0.25, 8_000))
    ]
    cases += [
        Case(name=f"late_sound_{late}_pcm", group="sound that starts late", sound_start_s=late, **pcm)
        for late in (0.011, 2.0)
    ]
    cases += [
        Case(name=f"late_picture_{suffix}", group="picture that starts late", picture_start_s=0.8, suffix=suffix)
        for suffix in ("mp4", "mkv")
    ]
    cases += [
        Case(name="both_late_mkv", group="both start late", picture_start_s=5.0, sound_start_s=5.4, **pcm),
        Case(name="both_late_ts", group="both start late", picture_start_s=3.0, sound_start_s=2.7, suffix="ts"),
    ]
    cases += [
        Case(
            name=f"drift_{clock}_{suffix}", group="drifting sound clock, ±2 ms per second", sound_clock=clock,
            duration_s=20.0, suffix=suffix, audio_codec=codec, fps=15.0,
        )
        for clock in (0.998, 1.002) for suffix, codec in (("mkv", "pcm_s16le"), ("mp4", "aac"))
    ]  # fmt: skip
    cases += [
        Case(name="lost_packets", group="lost packets of sound", sound_gaps=((1.2, 1.8), (2.4, 3.0)), **pcm),
        Case(name="lost_packets_aac", group="lost packets of sound", sound_gaps=((1.2, 1.8), (2.4, 3.0))),
    ]
    cases += [
        Case(
            name=f"joined_{suffix}_{parts}", group="a clock that starts again", suffix=suffix, video_codec=video,
            audio_codec=audio, parts=parts,
        )
        for suffix, video, audio in (("ts", "libx264", "aac"), ("mpg", "mpeg2video", "mp2"), ("mkv", "libx264", "flac"))
        for parts in (2, 3)
    ]  # fmt: skip
    cases += [
        Case(
            name=f"jitter_{jitter}_{len(gaps)}", group="timestamps of sound that jitter", sound_jitter_s=jitter,
            sound_frame=2880, duration_s=8.0, sound_gaps=gaps, **pcm,
        )
        for jitter in (0.02, 0.04, 0.06) for gaps in ((), ((2.04, 3.0),))
    ]  # fmt: skip
    cases += [
        Case(
            name=f"no_presentation_{fps}", group="no presentation times (H.264 in AVI)", suffix="avi",
            audio_codec="pcm_s16le", fps=fps,
        )
        for fps in (15.0, 25.0, 50.0)
    ]  # fmt: skip
    cases += [Case(name=f"rotated_{turn}", group="rotated pictures", rotation=turn) for turn in (90, 180, 270)]
    cases += [
        Case(
            name=f"matrix_{a}_{b}_{c}_{d}",
            group="mirrored and transposed pictures",
            matrix=(a, b, c, d),
            duration_s=2.0,
        )
        for a, b, c, d in ((-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0))
    ]
    cases += [
        Case(
            name=f"sizes_{suffix}", group="pictures that change their size", suffix=suffix, video_codec=codec,
            sizes=((64, 48), (32, 24), (48, 64), (128, 96)), sound=False,
        )
        for suffix, codec in (("webm", "libvpx"), ("ts", "libx264"))
    ]  # fmt: skip
    cases += [
        Case(name=f"silent_first_{suffix}", group="a silent sound track first", suffix=suffix, silent_first=True)
        for suffix in ("mp4", "mov")
    ]
    cases += [
        Case(
            name=f"voice_on_{'_'.join(f'{weight:g}' for weight in weights)}", group="a voice that the usual mix loses",
            channels=len(weights), weights=weights, duration_s=2.0, **pcm,
        )
        for weights in ((1, -1), (0.7, -1), (0, 0, 1), (0, 0, 0, 1, 0, 0), (0,) * 9 + (1,))
    ]  # fmt: skip
    cases += [
        Case(
            name=f"short_{seconds}", group="0.1 to 1 s", duration_s=seconds,
            events=(0.4,) if seconds < 1 else (0.2, 0.6), fps=60.0 if seconds < 0.3 else 30.0,
        )
        for seconds in (0.1, 0.2, 0.5, 1.0)
    ]  # fmt: skip
    return cases


CASES = _cases()


def main() -> None:
    """Prints the table."""
    aligner = Aligner(FINE)
    groups: dict[str, list[Placed]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            groups.setdefault(case.group, []).append(placed(case, Path(folder), aligner))
    print("| Files | Number | Picture: worst error, ms | in frames | Sound: worst error, ms |")
    print("|---|---|---|---|---|")
    for group, found in groups.items():
        picture = max(float(np.abs(one.picture_s).max()) for one in found)
        frames = max(float((np.abs(one.picture_s) / one.frame_s).max()) for one in found)
        sound = max(float(np.abs(one.sound_s).max(initial=0.0)) for one in found)
        print(f"| {group} | {len(found)} | {1000 * picture:.1f} | {frames:.2f} | {1000 * sound:.1f} |")


if __name__ == "__main__":
    main()
