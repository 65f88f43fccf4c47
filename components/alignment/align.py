"""One clip on one clock: media in, `AlignedClip` out. The same function serves the offline stage and a request.

    scan ──► clock ──► grid ──┬─► pictures of the steps ─► face track ─► crops
     │                        ├─► samples by timestamp ──► level, speech
     └─ sound, frame times    ├─► words
                              ├─► physiological channels
                              └─► given features                  ─► masks, quality, gate

It is deterministic: the same bytes and settings give the same row.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.alignment import given, physio, pictures, quality, vad, words
from components.alignment.faces.av_offset import estimate
from components.alignment.faces.crop import Crop
from components.alignment.faces.envelope import Envelope, envelope
from components.alignment.faces.face import Detector, Faces, FaceTracker, WholeFrame, create_detector
from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.recogniser import Recogniser, create_recogniser
from components.alignment.streams import Media, read_media
from components.contracts.config import Alignment
from components.contracts.records import AlignedClip, Clip, Quality, Word
from components.contracts.timebase import Grid
from components.datasets.given import GivenReader
from components.media.clock import NO_FRAME, frames_of_steps
from components.media.frames import DecodeReport, frames
from components.media.sound import levels_dbfs, place, samples_of
from components.media.span import Span

MIN_PRESENT = 0.5  # share of a step whose samples must exist


class Aligner:
    """Aligns clips with one configuration; loads the detector and the voice activity network once.

    `media=False` is for clips that bring features alone: neither is loaded before a clip needs it. Raises
    UnavailableError if weights that the configuration needs are not installed.
    """

    def __init__(self, config: Alignment, *, media: bool = True) -> None:
        self.config = config
        self.fingerprint = alignment_fingerprint(config)
        self._readers: dict[Path, GivenReader] = {}
        if media:
            _ = self._detector, self._activity, self._recogniser

    @cached_property
    def _detector(self) -> Detector:
        return create_detector(self.config.face)

    @cached_property
    def _activity(self) -> vad.VoiceActivity:
        return vad.create_activity(self.config.voice)

    @cached_property
    def _recogniser(self) -> Recogniser | None:
        return create_recogniser(self.config.words)

    def align(self, clip: Clip, *, root: Path) -> AlignedClip:
        """Aligns one clip and applies the quality gate.

        Args:
            clip: its media paths may be relative to `root`.
            root: the project's root.

        Raises:
            MediaError: the clip cannot be used; `code` says why. See `source`, `decode`, `media`, `physio`, `quality`.
        """
        aligned = self.align_ungated(clip, root=root)
        quality.gate(aligned.quality, self.config.quality, where=clip.clip_id)
        return aligned

    def align_ungated(self, clip: Clip, *, root: Path) -> AlignedClip:
        """As `align`, without the quality gate: the stage records the quality of clips that it refuses."""
        config, where = self.config, clip.clip_id
        span = Span.of(clip, config.limits)
        series = self._read_physio(clip, root, span)
        brought = given.read_given(clip, self._readers.setdefault(root, GivenReader(root))) if clip.given else {}
        media = read_media(clip, config, series, root=root, span=span, given_end_s=given.end_s(brought, clip))
        grid = Grid.covering(media.duration_s, config.rate_hz)
        notes = [*media.notes, *given.cut_notes(brought, media.duration_s, config.rate_hz)]
        pcm, voice = self._voice(media, grid, notes)
        speech = self._activity.speech(pcm, grid) if voice.any() else np.zeros(grid.num_steps, dtype=np.float32)
        speech[~voice] = 0.0
        voiced = voice & (speech > config.voice.speech_threshold)
        sound = envelope(pcm, config.voice.rate_hz) if voiced.any() else None
        faces = self._faces(clip, root, media, grid, notes, sound=sound)
        apart = estimate(faces.lips, sound) if config.av_offset and faces.lips and sound else None
        notes += quality.av_offset_notes(apart)
        spoken, source = _words(clip, voiced if voiced.any() else voice, grid, media)
        if not (clip.words or (clip.transcript or "").strip()) and voiced.any() and self._recogniser is not None:
            spoken = self._recogniser.words(pcm, config.voice.rate_hz, voiced, grid)
            source = "recognised" if spoken else "none"
            notes.append("the words are what a speech recogniser heard")
        if clip.words and len(spoken) < len(clip.words):
            notes.append(f"{len(clip.words) - len(spoken)} of {len(clip.words)} words lie outside the clip")
        channels = physio.resampled(series, media.duration_s, config.physio_rate_hz)
        masks = {
            "face": faces.mask,
            "voice": voice,
            "text": words.text_mask(spoken, grid),
            "physio": physio.physio_mask(channels, config.physio_rate_hz, grid),
        }
        placed = given.on_grid(brought, grid, media.duration_s)
        masks.update({modality: mask for modality, (_, mask) in placed.items()})
        if clip.physio_path is not None and not masks["physio"].any():
            notes.append("the physiological file holds no sample within the clip")
        return AlignedClip(
            clip_id=where,
            content_sha256=clip.content_sha256,
            alignment_fingerprint=self.fingerprint,
            grid=grid,
            face_jpeg=faces.jpeg,
            face_box=faces.box,
            audio_rate_hz=config.voice.rate_hz,
            pcm=pcm,
            speech=speech,
            words=spoken,
            words_source=source,
            physio_rate_hz=config.physio_rate_hz,
            physio=channels,
            masks=masks,
            quality=Quality(
                duration_s=media.duration_s,
                offset_s=media.offset_s,
                drift_s_per_min=media.sound.drift_s_per_min if media.sound else 0.0,
                frame_rate_hz=media.spread.rate_hz if media.spread else None,
                frame_interval_cv=media.spread.cv if media.spread else None,
                coverage=quality.coverage(masks),
                speech_fraction=float(np.mean(voiced)) if voice.any() else None,
                av_offset_s=apart.offset_s if apart else None,
                av_offset_error_s=apart.error_s if apart else None,
                notes=tuple(notes),
            ),
            given={modality: values for modality, (values, _) in placed.items()},
        )

    def _read_physio(self, clip: Clip, root: Path, span: Span | None) -> physio.Series:
        if clip.physio_path is None:
            return {}
        return physio.read_physio(root / clip.physio_path, self.config.limits, where=clip.clip_id, span=span)

    def _faces(
        self, clip: Clip, root: Path, media: Media, grid: Grid, notes: list[str], *, sound: Envelope | None
    ) -> Faces:
        if media.numbered is not None:
            found, told = pictures.faces_of(
                media.numbered,
                grid,
                origin_s=media.picture_origin_s,
                duration_s=media.duration_s,
                config=self.config.face,
                limits=self.config.limits,
            )
            notes += told
            return found
        pictured = media.pictures is not None and clip.video_path is not None
        detector = self._detector if pictured else WholeFrame()  # the detector is not loaded where nothing is seen
        tracker = FaceTracker(self.config.face, detector, num_steps=grid.num_steps, rate_hz=grid.rate_hz)
        crop = Crop.of(clip, grid.num_steps)
        if media.pictures is None or clip.video_path is None:
            return tracker.finish()
        times_s = media.pictures.times_s - media.picture_origin_s
        end_s = media.pictures.end_s - media.picture_origin_s
        frame_of_step = frames_of_steps(times_s, end_s, grid, media.duration_s)
        steps_of_frame: dict[int, list[int]] = {}
        for step, frame in enumerate(frame_of_step):
            if frame != NO_FRAME:
                steps_of_frame.setdefault(int(frame), []).append(step)
        wanted = np.array(sorted(steps_of_frame), dtype=np.int64)
        report = DecodeReport()
        wanted_s = media.pictures.times_s[wanted]
        limits, path, window = self.config.limits, root / clip.video_path, media.picture_window

        def glance(time_s: float, grey: NDArray[np.uint8]) -> None:
            tracker.glance(time_s - media.picture_origin_s, crop.cut(grey, []))

        shown = frames(
            path,
            wanted_s,
            limits,
            report,
            where=clip.clip_id,
            window=window,
            glance=glance if sound is not None else None,  # without speech nobody asks what the mouths do
        )
        for index, picture in shown:
            frame = int(wanted[index])
            tracker.add(float(times_s[frame]), steps_of_frame[frame], crop.cut(picture, steps_of_frame[frame]))
        faces = crop.placed(tracker.finish(sound))
        between = (grid.centres_s >= times_s[0]) & (grid.centres_s <= times_s[-1])
        notes += _face_notes(faces, int(np.sum(between & (frame_of_step == NO_FRAME))), grid, report)
        return faces

    def _voice(self, media: Media, grid: Grid, notes: list[str]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        config = self.config.voice
        if media.sound is None:
            size = samples_of(media.duration_s, config.rate_hz)
            return np.zeros(size, dtype=np.int16), np.zeros(grid.num_steps, dtype=bool)
        pcm, exists = place(media.sound, origin_s=media.sound_origin_s, duration_s=media.duration_s)
        level, present = levels_dbfs(pcm, exists, config.rate_hz, grid.starts_s, 1.0 / grid.rate_hz)
        there = present >= MIN_PRESENT
        valid = there & (level > config.level_floor_dbfs)
        if not valid.any():
            notes.append("the sound is silent")
        notes += quality.clipping(pcm[exists])
        first, last = np.nonzero(exists)[0][[0, -1]] if exists.any() else (0, 0)
        missing_s = float((~exists[first : last + 1]).sum()) / config.rate_hz
        if missing_s >= quality.NOTE_HOLE_S:
            notes.append(f"{missing_s:.2f} s are missing within the sound")
        return pcm, np.asarray(valid, dtype=bool)


def align(clip: Clip, config: Alignment, *, root: Path) -> AlignedClip:
    """Aligns one clip; see `Aligner.align`. For many clips make one `Aligner`."""
    return Aligner(config).align(clip, root=root)


def _words(clip: Clip, voiced: NDArray[np.bool_], grid: Grid, media: Media) -> tuple[tuple[Word, ...], str]:
    """The clip's words on its clock and where their times come from."""
    if clip.words:
        kept = words.placed(clip.words, media.duration_s)
        return kept, "given" if kept else "none"
    spread = words.spread(clip.transcript or "", voiced, grid, media.duration_s)
    return spread, "spread" if spread else "none"


def _face_notes(faces: Faces, steps_without_picture: int, grid: Grid, report: DecodeReport) -> list[str]:
    notes = []
    if steps_without_picture:
        notes.append(f"pictures are missing for {steps_without_picture / grid.rate_hz:.1f} s")
    if report.dropped_frames or report.damaged_packets:
        notes.append(f"{report.dropped_frames + report.damaged_packets} damaged pictures left out")
    if not faces.mask.any():
        notes.append("no face found")
    elif faces.others:
        notes.append(f"{faces.others + 1} faces seen; {faces.why}")
    return notes
