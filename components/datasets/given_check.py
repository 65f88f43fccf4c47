"""Given features at the boundary: every array is read once, checked and hashed; an unusable one is set aside.

A clip with an unusable array is used without it; whether the rest of the clip suffices is decided by the stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.contracts.codes import Code
from components.contracts.errors import MediaError
from components.contracts.records import Clip, GivenFeatures, Quarantined
from components.datasets.base import STAGE
from components.datasets.given import GivenArray, GivenReader, majority_widths
from components.runtime.progress import progress

REMEDY = "The clip is used without this modality"


@dataclass(frozen=True, kw_only=True)
class Readable:
    """Clips with their usable given features, the hash of each array, and a row for each array set aside."""

    clips: tuple[Clip, ...]
    hashes: dict[GivenFeatures, str]
    quarantined: tuple[Quarantined, ...]


def check_given(clips: Sequence[Clip], root: Path) -> Readable:
    """Reads all given features of a dataset; one array is held at a time.

    An array is set aside when `GivenReader.read` refuses it, when the duration of its samples is unknown, and when its
    width differs from that of most arrays of its modality.
    """
    quarantined: list[Quarantined] = []
    hashes: dict[GivenFeatures, str] = {}
    widths: dict[GivenFeatures, int] = {}
    featured = [clip for clip in clips if clip.given]
    if featured:
        reader = GivenReader(root)
        with progress("datasets: read given features", len(featured)) as advance:
            for clip in featured:
                for features in clip.given:
                    try:
                        array = reader.read(features)
                        _check_clock(features, array)
                    except MediaError as error:
                        quarantined.append(_row(clip, features, error))
                        continue
                    hashes[features], widths[features] = array.sha256(), array.width
                advance(1)
    usual = majority_widths((features.modality, width) for features, width in widths.items())
    checked = []
    for clip in clips:
        for features in clip.given:
            width = widths.get(features)
            if width is not None and width != usual[features.modality]:
                quarantined.append(_row(clip, features, _wrong_width(features, width, usual[features.modality])))
        usable = tuple(one for one in clip.given if widths.get(one) == usual.get(one.modality, -1))
        checked.append(replace(clip, given=usable) if usable != clip.given else clip)
    return Readable(clips=tuple(checked), hashes=hashes, quarantined=tuple(quarantined))


def _check_clock(given: GivenFeatures, array: GivenArray) -> None:
    timed = given.rate_hz or array.rate_hz or given.end_s or array.times_s is not None
    if len(array.values) > 1 and not timed:
        raise MediaError(
            "the times of these samples are unknown",
            where=f"{given.key}: {given.modality} in {given.path}",
            seen=f"{len(array.values)} samples, no rate",
            allowed="samples per second, times, or the clip's start and end",
            remedy=f"Give the rate of {given.modality!r} in features.json or params.yaml, or start_s and end_s",
            code=Code.NO_RATE,
        )


def _wrong_width(given: GivenFeatures, width: int, usual: int) -> MediaError:
    return MediaError(
        "the array is not as wide as those of the other clips",
        where=f"{given.key}: {given.modality} in {given.path}",
        seen=width,
        allowed=usual,
        remedy="Write it again as the others were made",
        code=Code.WIDTH,
    )


def _row(clip: Clip, given: GivenFeatures, error: MediaError) -> Quarantined:
    remedy = f"{error.remedy}. {REMEDY}" if error.remedy else REMEDY
    advised = MediaError(error.what, **{**error.fields, "remedy": remedy})
    return Quarantined.from_error(
        advised, dataset=clip.dataset, clip_id=clip.clip_id, stage=STAGE, path=given.path, field=given.modality
    )
