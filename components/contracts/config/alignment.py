"""The section `alignment`: the common clock, and how face, voice, words and signals are placed on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from components.contracts.config.base import Section
from components.contracts.config.media import MediaLimits


class FaceAlignment(Section):
    """Face detection and tracking: faces are detected now and then and followed in between.

    Where a face comes or goes between two detections, the moment is searched by halves; an absence between two
    detections that both have the face is not noticed.
    """

    detector: Literal["mtcnn", "whole_frame"] = "mtcnn"
    """`mtcnn` finds faces in the picture (Zhang et al. 2016, arXiv 1604.02878); `whole_frame` takes the whole picture
    as the face, for corpora whose pictures are face crops already."""

    detect_every_s: float = Field(0.5, gt=0)
    """Seconds from one detection to the next, to the nearest step of the grid; the box is interpolated in between."""

    max_gap_s: float = Field(1.0, ge=0)
    """The longest time without a detection, in seconds, over which a face's box is interpolated; the steps of a longer
    gap are without a face."""

    detect_side_px: int = Field(320, ge=64)
    """The longer side of the shrunken picture in which faces are detected, in pixels; a smaller picture is left as it
    is. Larger finds smaller faces and costs more."""

    fine_side_px: int = Field(1280, ge=64)
    """The longer side of the shrunken picture in a second look, in pixels. A clip gets it only where the first look
    finds no face at all (small faces in large pictures), and never where this is at most `detect_side_px`."""

    min_face_px: int = Field(32, ge=20)
    """The smallest face that is looked for, in pixels of the shrunken picture (`detect_side_px`)."""

    min_confidence: float = Field(0.9, ge=0, le=1)
    """A detection with this confidence of MTCNN's last net (O-Net) or less is no face."""

    crop_px: int = Field(96, ge=32)
    """Width and height of the stored face crop, in pixels."""

    crop_margin: float = Field(0.2, ge=0, le=1)
    """What the crop shows beyond the face: its side is the longer side of the face's box times 1 + this. Without
    effect for `whole_frame`."""

    jpeg_quality: int = Field(95, ge=50, le=100)
    """Quality of the stored crops on JPEG's scale to 100."""


class VoiceAlignment(Section):
    """Sound: one mono stream. A step of the grid is valid where samples exist and are loud enough."""

    rate_hz: Literal[16000] = 16000
    """Samples per second that all sound is converted to. The networks that read it (Silero VAD, Whisper) are made for
    this rate."""

    activity: Literal["silero", "energy"] = "silero"
    """How speech is told from other sound: `silero` is the Silero VAD network; `energy` needs no weights and takes
    what stands out of the clip's own noise floor."""

    level_floor_dbfs: float = Field(-60.0, le=0)
    """The level that a step must exceed to be valid, in dB below full scale."""

    speech_threshold: float = Field(0.5, gt=0, lt=1)
    """The probability of speech above which a valid step counts as speech. Words without times are spread over such
    steps. In a clip without any, no words are recognised, and mouths are not compared with the sound."""


class WordsAlignment(Section):
    """Words: given with their times, laid over the speech, or recognised."""

    recogniser: str = "none"
    """What fills in where a clip comes without words and without a transcript: `none`, or
    `transformers:<hub name or folder>` of a Whisper checkpoint (Radford et al. 2022, arXiv 2212.04356), which runs on
    the CPU."""

    @field_validator("recogniser")
    @classmethod
    def _named(cls, spec: str) -> str:
        kind, _, location = spec.partition(":")
        if spec != "none" and (kind != "transformers" or not location):
            raise ValueError(f"{spec!r} is no recogniser; allowed: none, transformers:<hub name or folder>")
        return spec


class AlignmentQuality(Section):
    """Gates on one clip's alignment; a clip outside them goes to quarantine."""

    max_abs_offset_s: float = Field(5.0, gt=0)
    """The most that sound and picture may start apart, in seconds, by the timestamps of the file."""

    max_abs_drift_s_per_min: float = Field(0.5, gt=0)
    """The most that the timestamps of the sound may run away from its count of samples, in seconds per minute."""

    min_coverage_any: float = Field(0.05, ge=0, le=1)
    """The share of steps on which the best covered modality must be valid."""


class Alignment(Section):
    """The common clock and what is placed on it."""

    rate_hz: float = Field(10.0, gt=0, le=100)
    """Steps per second of the grid on which all modalities lie, and at which answers over time are given."""

    face: FaceAlignment = FaceAlignment()
    """Face detection, tracking and crops."""

    voice: VoiceAlignment = VoiceAlignment()
    """Sound and voice activity."""

    words: WordsAlignment = WordsAlignment()
    """What is said."""

    av_offset: bool = True
    """Whether to estimate how far lips and sound are apart (Slaney & Covell 2000, FaceSync, NIPS 13). The estimate is
    reported and changes nothing else."""

    physio_rate_hz: float = Field(64.0, gt=0)
    """Samples per second that physiological channels are resampled to."""

    quality: AlignmentQuality = AlignmentQuality()
    """Bounds that a clip's alignment must keep."""

    limits: MediaLimits = MediaLimits()
    """What a media file of a corpus may cost."""
