"""Aligns one clip: media → `AlignedClip` on one clock. The stage and requests call the same function.

    scan ──► clock ──► grid ──┬─► pictures of the steps ─► face track ─► crops
     │                        ├─► samples by timestamp ──► level, speech
     └─ sound, frame times    ├─► words
                              ├─► physiological channels
                              └─► given features                  ─► masks, quality, gate

It is deterministic: the same bytes and settings give the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.alignment import given, physio, pictures, quality, vad, words
from components.alignment.faces.av_offset import estimate
from components.alignment.faces.crop import Crop
from components.alignment.faces.envelope import Envelope, envelope
from components.alignment.faces.face import Detector, Faces, FaceTracker, WholeFrame, create_detector
from components.alignment.faces.video import faces_in_video
from components.alignment.fingerprint import alignment_fingerprint
from components.alignment.placed_sound import PlacedSound, placed_sound
from components.alignment.recogniser import Recogniser, create_recogniser
from components.alignment.streams import Media, read_media
from components.contracts.config import Alignment
from components.contracts.records import AlignedClip, Clip, Quality, Word
from components.contracts.timebase import Grid
from components.datasets.given import GivenReader
from components.media.span import Span

RECOGNISED_NOTE = "the words are what a speech recogniser heard"


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """Words on the clip's clock, where their times come from, and notes for a person."""

    words: tuple[Word, ...]
    source: str
    notes: tuple[str, ...] = ()


class Aligner:
    """Aligns clips with one configuration; loads the detector and the voice activity network once.

    `media=False` is for clips of given features alone: neither is loaded before a clip needs it. Raises
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
            MediaError: the clip cannot be used; `code` is the reason. See `media.source`, `streams`, `physio`,
                `quality`.
        """
        aligned = self.align_ungated(clip, root=root)
        quality.gate(aligned.quality, self.config.quality, where=clip.clip_id)
        return aligned

    def align_ungated(self, clip: Clip, *, root: Path) -> AlignedClip:
        """As `align`, without the quality gate: the stage records the quality of clips that it refuses."""
        config = self.config
        span = Span.of(clip, config.limits)
        series = self._read_physio(clip, root, span)
        pieces = given.read_given(clip, self._readers.setdefault(root, GivenReader(root))) if clip.given else {}
        media = read_media(clip, config, series, root=root, span=span, given_end_s=given.end_s(pieces, clip))
        grid = Grid.covering(media.duration_s, config.rate_hz)
        sound = placed_sound(media, grid, config.voice)
        speech = self._speech(sound, grid)
        voiced = sound.audible & (speech > config.voice.speech_threshold)
        compared = media.pictures is not None and voiced.any()  # lips with speech
        spoken_sound = envelope(sound.pcm, config.voice.rate_hz) if compared else None
        faces, face_notes = self._faces(clip, root, media, grid, spoken_sound)
        av_offset = estimate(faces.lips, spoken_sound) if config.av_offset and faces.lips and spoken_sound else None
        spoken = self._spoken(clip, sound, voiced, grid, media)
        channels = physio.resampled(series, media.duration_s, config.physio_rate_hz)
        placed = given.on_grid(pieces, grid, media.duration_s)
        masks = {
            "face": faces.mask,
            "voice": sound.audible,
            "text": words.text_mask(spoken.words, grid),
            "physio": physio.physio_mask(channels, config.physio_rate_hz, grid),
            **{modality: mask for modality, (_, mask) in placed.items()},
        }
        notes = (
            *media.notes,
            *given.cut_notes(pieces, media.duration_s, config.rate_hz),
            *sound.notes,
            *face_notes,
            *quality.av_offset_notes(av_offset),
            *spoken.notes,
            *_physio_notes(clip, masks["physio"]),
        )
        return AlignedClip(
            clip_id=clip.clip_id,
            content_sha256=clip.content_sha256,
            alignment_fingerprint=self.fingerprint,
            grid=grid,
            face_jpeg=faces.jpeg,
            face_box=faces.box,
            audio_rate_hz=config.voice.rate_hz,
            pcm=sound.pcm,
            speech=speech,
            words=spoken.words,
            words_source=spoken.source,
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
                speech_fraction=float(np.mean(voiced)) if sound.audible.any() else None,
                av_offset_s=av_offset.offset_s if av_offset else None,
                av_offset_error_s=av_offset.error_s if av_offset else None,
                notes=notes,
            ),
            given={modality: values for modality, (values, _) in placed.items()},
            canvas=faces.canvas,
        )

    def _read_physio(self, clip: Clip, root: Path, span: Span | None) -> physio.Series:
        if clip.physio_path is None:
            return {}
        return physio.read_physio(root / clip.physio_path, self.config.limits, where=clip.clip_id, span=span)

    def _speech(self, sound: PlacedSound, grid: Grid) -> NDArray[np.float32]:
        """(T,) probability of speech in each step; 0 where there is no valid sound."""
        if not sound.audible.any():
            return np.zeros(grid.num_steps, dtype=np.float32)
        speech = self._activity.speech(sound.pcm, grid)
        speech[~sound.audible] = 0.0
        return speech

    def _faces(
        self, clip: Clip, root: Path, media: Media, grid: Grid, sound: Envelope | None
    ) -> tuple[Faces, Sequence[str]]:
        """The face of every step, and notes for a person: from numbered pictures, a video, or neither."""
        face, limits = self.config.face, self.config.limits
        if media.numbered is not None:
            origin_s, duration_s = media.picture_origin_s, media.duration_s
            return pictures.faces_of(
                media.numbered, grid, origin_s=origin_s, duration_s=duration_s, config=face, limits=limits
            )
        crop = Crop.of(clip)
        if media.pictures is None or clip.video_path is None:  # the detector is not loaded without pictures
            return FaceTracker(face, WholeFrame(), num_steps=grid.num_steps, rate_hz=grid.rate_hz).finish(), ()
        return faces_in_video(
            root / clip.video_path,
            media.pictures,
            media,
            grid,
            tracker=FaceTracker(face, self._detector, num_steps=grid.num_steps, rate_hz=grid.rate_hz),
            crop=crop,
            sound=sound,
            limits=limits,
            where=clip.clip_id,
        )

    def _spoken(self, clip: Clip, sound: PlacedSound, voiced: NDArray[np.bool_], grid: Grid, media: Media) -> Spoken:
        """The clip's words: given with times, else its transcript over the speech, else the output of a recogniser."""
        if clip.words:
            kept = words.placed(clip.words, media.duration_s)
            outside = len(clip.words) - len(kept)
            notes = (f"{outside} of {len(clip.words)} words lie outside the clip",) if outside > 0 else ()
            single, lines = words.by_word(kept, voiced if voiced.any() else sound.audible, grid)
            return Spoken(words=single, source="none" if not kept else "lines" if lines else "given", notes=notes)
        if not (clip.transcript or "").strip() and voiced.any() and self._recogniser is not None:
            recognised = self._recogniser.words(sound.pcm, self.config.voice.rate_hz, voiced, grid)
            return Spoken(words=recognised, source="recognised" if recognised else "none", notes=(RECOGNISED_NOTE,))
        steps = voiced if voiced.any() else sound.audible
        spread = words.spread(clip.transcript or "", steps, grid, media.duration_s)
        return Spoken(words=spread, source="spread" if spread else "none")


def align(clip: Clip, config: Alignment, *, root: Path) -> AlignedClip:
    """Aligns one clip; see `Aligner.align`. For many clips make one `Aligner`."""
    return Aligner(config).align(clip, root=root)


def _physio_notes(clip: Clip, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    lacking = clip.physio_path is not None and not mask.any()
    return ("the physiological file holds no sample within the clip",) if lacking else ()
