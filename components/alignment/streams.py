"""The first pass over a clip's files: determines its streams, its zero and its duration.

A clip's sound is the audio stream of its video file, or a separate file. In one file both streams share a clock, so an
offset between them is real. Two files have no common clock: each starts at its own first timestamp, and both are
taken to start together.

A still picture (a photograph, or a video of a single one) is one moment and stands for one step, so that a clip of a
photograph alone has one step. Beside sound its face is at its moment, and the other steps are without a face: nobody
keeps a face for as long as they speak.

A clip that is a span of its files has its zero where the span begins and lasts as long as the span: any part that
is missing from the files is masked like any other gap, and noted. Only a span with next to nothing in it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from components.alignment import quality
from components.alignment.physio import Series
from components.alignment.pictures import Numbered, read_numbered
from components.contracts.codes import Code
from components.contracts.config import Alignment
from components.contracts.errors import MediaError
from components.contracts.records import Clip
from components.media.chosen import scan_chosen
from components.media.clocks.clock import Intervals, intervals
from components.media.clocks.presented import NOTE as DECODE_ORDERED_NOTE
from components.media.scan import FileScan, Pictures
from components.media.sound import Sound
from components.media.source import too_long
from components.media.span import MIN_DURATION_S, Span, Window
from components.media.tracks import Choice, Choices, check_choices

STILL_NOTE = "a still picture: one moment, without any change over time"
STILL_BESIDE_SOUND_NOTE = "a still picture beside sound: the face counts at its own moment alone"
JITTER_NOTE = "the timestamps of the sound jump to and fro; it is placed by its sample count"


@dataclass(frozen=True, kw_only=True)
class Media:
    """A clip's streams and clock.

    Attributes:
        duration_s: of the longest stream, or of the clip's span.
        offset_s: first timestamp of the sound minus that of the picture; 0 without a shared clock.
        picture_origin_s, sound_origin_s: the clip's zero on the clock of either file.
        pictures, sound: the streams, None where absent.
        picture_window: the span on the clock of the pictures' file.
        numbered: the pictures of a folder, which replace those of the stream.
        spread: regularity of the frame times.
        notes: for a person.
    """

    duration_s: float
    offset_s: float = 0.0
    picture_origin_s: float = 0.0
    sound_origin_s: float = 0.0
    pictures: Pictures | None = None
    sound: Sound | None = None
    picture_window: Window | None = None
    numbered: Numbered | None = None
    spread: Intervals | None = None
    notes: tuple[str, ...] = ()


def read_media(
    clip: Clip,
    config: Alignment,
    series: Series,
    *,
    root: Path,
    span: Span | None = None,
    given_end_s: float | None = None,
) -> Media:
    """Decodes the sound, reads the frame times, and sets the clip's zero and duration.

    Args:
        clip: its media paths may be relative to `root`.
        config: of the stage.
        series: the clip's physiology.
        root: the project's root.
        span: the clip's part of the files, as `Span.of` returns it; None for all of them.
        given_end_s: the end of the clip's given features, if it is defined.

    Raises:
        MediaError: see `source`, `decode`, `pictures`, and `no-audio`, `no-track`, `truncated`, `no-media`, `too-long`,
            `bad-span`.
    """
    limits, where, rate_hz = config.limits, clip.clip_id, config.voice.rate_hz
    choices = Choices(picture=Choice(number=clip.video_track), sound=Choice(number=clip.audio_track))
    read = partial(
        scan_chosen,
        limits=limits,
        rate_hz=rate_hz,
        floor_dbfs=config.voice.level_floor_dbfs,
        where=where,
        span=span,
        choices=choices,
    )
    check_choices(clip)
    video: FileScan | None = None
    audio: FileScan | None = None
    track_notes: tuple[str, ...] = ()
    if clip.video_path is not None:
        own_sound = clip.audio_path is None
        chosen = read(root / clip.video_path, picture=True, sound=own_sound)
        video, track_notes = _of_a_step(chosen.scan, 1.0 / config.rate_hz), chosen.notes
        audio = video if own_sound else None
    if clip.audio_path is not None:
        path = root / clip.audio_path
        chosen = read(path, picture=False, sound=True)
        audio, track_notes = chosen.scan, (*track_notes, *chosen.notes)
        if not audio.has_sound_stream:
            raise _no_audio(path, where)
    pictures = video.pictures if video else None
    sound = audio.sound if audio else None
    numbered = None
    if clip.pictures_path is not None:
        if span is not None:
            raise _bad_span(clip, "a span of numbered pictures", "numbered pictures from the first to the last")
        numbered = read_numbered(root / clip.pictures_path, clip.pictures_rate_hz, pictures, limits, where=where)
        pictures = numbered.clock
    if pictures is None and sound is None:
        if video or audio:
            broken = next((part.broke_off for part in (video, audio) if part and part.broke_off), None)
            raise _truncated(clip.clip_id, broken) if span is None or broken else _outside(clip, video or audio)
        return _without_streams(clip, config, series, given_end_s)
    media = _on_one_clock(
        pictures,
        sound,
        shared_clock=video is audio and (video is None or pictures is video.pictures),
        numbered=numbered,
        windows=(video.window if video else None, audio.window if audio else None),
        span=span,
        notes=[*_stream_notes(clip, video, audio), *track_notes],
    )
    if _is_still(media.pictures) and sound is None:
        media = replace(media, duration_s=max(media.duration_s, *_other_ends_s(clip, series, given_end_s)))
    elif media.duration_s < MIN_DURATION_S:
        raise _truncated(where, f"{media.duration_s:.3f} s")
    if media.duration_s > limits.max_duration_s:
        raise too_long(media.duration_s, limits, where)
    return media


def _on_one_clock(
    pictures: Pictures | None,
    sound: Sound | None,
    *,
    shared_clock: bool,
    numbered: Numbered | None,
    windows: tuple[Window | None, Window | None],
    span: Span | None,
    notes: list[str],
) -> Media:
    starts = [float(pictures.times_s[0])] if pictures else []
    # With numbered pictures the first one is at zero, and earlier sound is not part of the clip.
    starts += [sound.start_s] if sound and not numbered else []
    origin_s = min(starts)
    picture_origin_s = origin_s if shared_clock or not pictures else float(pictures.times_s[0])
    sound_origin_s = origin_s if shared_clock or not sound else sound.start_s
    offset_s = sound.start_s - float(pictures.times_s[0]) if sound and pictures and shared_clock else 0.0
    picture_window, sound_window = windows
    if picture_window is not None:
        picture_origin_s = picture_window.start_s
        offset_s = picture_window.late_s if sound and pictures and shared_clock else 0.0
    if sound_window is not None:
        sound_origin_s = sound_window.start_s
    ends = [pictures.end_s - picture_origin_s] if pictures else []
    ends += [sound.end_s - sound_origin_s] if sound else []
    duration_s = max(ends)
    if span is not None and span.end_s is not None and duration_s >= MIN_DURATION_S:
        missing_s = span.end_s - span.start_s - duration_s
        duration_s = span.end_s - span.start_s
        if missing_s >= quality.NOTE_EARLY_END_S:
            notes.append(f"the recording ends {missing_s:.2f} s before the clip does")
    if sound and offset_s > sound.padding_s:
        offset_s += sound.padding_s  # a late stream begins with its encoder's padding; the sound follows it
    apart = sound and pictures and not (shared_clock or pictures.is_still)
    if apart and abs(ends[1] - ends[0]) > quality.NOTE_EARLY_END_S:
        longer = "longer" if ends[1] > ends[0] else "shorter"
        notes.append(f"the sound file is {abs(ends[1] - ends[0]):.2f} s {longer} than the picture")
    spread = intervals(pictures.times_s) if pictures else None
    notes += quality.clock_notes(
        offset_s=offset_s,
        drift_s_per_min=sound.drift_s_per_min if sound else 0.0,
        frame_interval_cv=spread.cv if spread else None,
    )
    return Media(
        duration_s=duration_s,
        offset_s=offset_s,
        picture_origin_s=picture_origin_s,
        sound_origin_s=sound_origin_s,
        pictures=pictures,
        sound=sound,
        picture_window=picture_window,
        numbered=numbered,
        spread=spread,
        notes=tuple(notes),
    )


def _of_a_step(scanned: FileScan, step_s: float) -> FileScan:
    """The scan with a still picture that lasts a step."""
    pictures = scanned.pictures
    if pictures is None or not pictures.is_still:
        return scanned
    return replace(scanned, pictures=replace(pictures, end_s=float(pictures.times_s[0]) + step_s, declared_end_s=None))


def _is_still(pictures: Pictures | None) -> bool:
    return pictures is not None and pictures.is_still


def _without_streams(clip: Clip, config: Alignment, series: Series, given_end_s: float | None) -> Media:
    """A clip of signals, timed words or given features alone lasts as long as they do, or as its span; one of
    single vectors that hold throughout lasts one step."""
    ends = _other_ends_s(clip, series, given_end_s)
    step_s = 1.0 / config.rate_hz if clip.given and given_end_s is None and not max(ends) else 0.0
    duration_s = max(step_s, *ends)
    if clip.end_s is not None and (series or clip.words or clip.given):
        duration_s = clip.end_s - clip.start_s
    if duration_s < MIN_DURATION_S and not clip.given:
        raise MediaError(
            "the clip has neither picture nor sound, nor a signal or words with times",
            where=clip.clip_id,
            seen="no media",
            allowed="video_path, audio_path, pictures_path, physio_path, given features, or words with times",
            remedy="Give the clip a file, or remove its row",
            code=Code.NO_MEDIA,
        )
    if duration_s > config.limits.max_duration_s:
        raise too_long(duration_s, config.limits, clip.clip_id)
    return Media(duration_s=duration_s)


def _other_ends_s(clip: Clip, series: Series, given_end_s: float | None) -> list[float]:
    """Where signals, timed words and given features end, and 0."""
    ends = [float(times[-1]) for times, _ in series.values()] + [word.end_s for word in clip.words]
    return [0.0, *ends, given_end_s or 0.0]


def _stream_notes(clip: Clip, video: FileScan | None, audio: FileScan | None) -> list[str]:
    notes = []
    if clip.video_path is None and clip.pictures_path is None:
        notes.append("sound only")
    elif video is not None and video.pictures is None:
        notes.append("the video file holds no picture")
    still = video is not None and _is_still(video.pictures)
    if audio is None or not audio.has_sound_stream:
        notes.append(STILL_NOTE if still else "no sound")
    elif audio.sound is None:
        notes.append("nothing of the sound decodes")
    elif still:
        notes.append(STILL_BESIDE_SOUND_NOTE)
    timelines = [file.timeline.notes() for file in (video, audio) if file is not None]
    notes += dict.fromkeys(note for of_file in timelines for note in of_file)  # picture and sound may be of one file
    if video is not None and video.pictures is not None:
        notes += [DECODE_ORDERED_NOTE] if video.pictures.decode_ordered else []
        notes += quality.ended_early("picture", video.pictures.end_s, video.pictures.declared_end_s)
    if audio is not None and audio.sound is not None:
        notes += quality.ended_early("sound", audio.sound.end_s, audio.sound.declared_end_s)
        notes += [JITTER_NOTE] if audio.sound.jitters else []
        if audio.sound.damaged_packets:
            notes.append(f"{audio.sound.damaged_packets} damaged sound packets left out")
    return notes


def _no_audio(path: Path, where: str) -> MediaError:
    return MediaError(
        f"sound file {path.name!r} contains no sound",
        where=where,
        seen="no audio stream",
        allowed="an audio stream",
        remedy="Extract the sound again; leave audio_path empty to use the video's own sound",
        code=Code.NO_AUDIO,
    )


def _outside(clip: Clip, scanned: FileScan | None) -> MediaError:
    window = scanned.window if scanned else None
    lasts = f"{window.length_s:.2f} s long" if window and window.length_s else "shorter"
    return _bad_span(clip, f"nothing from {clip.start_s:g} s on; the recording is {lasts}", "a span of the recording")


def _bad_span(clip: Clip, seen: str, allowed: str) -> MediaError:
    return MediaError(
        "the clip's span is not in its files",
        where=clip.clip_id,
        seen=seen,
        allowed=allowed,
        remedy="Mend the times in the corpus's table, or take the clip out",
        code=Code.BAD_SPAN,
    )


def _truncated(where: str, seen: str | None) -> MediaError:
    return MediaError(
        "too little of the clip decodes",
        where=where,
        seen=seen or "no picture and no sound",
        allowed=f"at least {MIN_DURATION_S:g} s",
        remedy="The file is truncated or damaged: download or export it again",
        code=Code.TRUNCATED,
    )
