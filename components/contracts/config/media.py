"""What a media file may cost; part of the sections `alignment` and `serving`."""

from __future__ import annotations

from pydantic import Field

from components.contracts.config.base import Section


class MediaLimits(Section):
    """What a media file may cost before it is refused; untrusted uploads are decoded under the same kind of limits.

    All are far above what an ordinary clip needs.
    """

    max_bytes: int = Field(2_000_000_000, gt=0)
    """The largest file, in bytes."""

    max_duration_s: float = Field(1800.0, gt=0)
    """The longest clip, in seconds: of the whole file, or of the span of it that the clip is."""

    max_side_px: int = Field(4096, gt=0)
    """The longest side of a picture, in pixels."""

    max_frame_rate_hz: float = Field(240.0, gt=0)
    """The highest frame rate, in frames per second, by the median interval between pictures."""

    max_decoded_frames: int = Field(216_000, gt=0)
    """The most pictures of one clip; 216,000 are an hour at 60 frames per second."""

    max_work_s: float = Field(7200.0, gt=0)
    """The most processor time that the alignment of one clip may take, in seconds. Processor time rather than time by
    the clock, so that a busy machine refuses no more than an idle one."""

    max_memory_mb: int = Field(4096, ge=64)
    """The most memory that the alignment of one clip may take, in MiB, beyond what the process that aligns holds
    anyway."""
