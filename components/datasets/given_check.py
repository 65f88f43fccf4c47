"""Given features at the boundary: every array is read once, checked and hashed; what cannot be used is set aside.

A clip whose array is unusable is used without it; what is left is decided by the stage.
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
    """Clips with those given features that can be used, the hash of each array, and a row for each one set aside."""

    clips: tuple[Clip, ...]
    hashes: dict[GivenFeatures, str]
    quarantined: tuple[Quarantined, ...]


def check_given(clips: Sequence[Clip], root: Path) -> Readable:
    """Reads all given features of a dataset; one array is held at a time.

    An array is set aside when `GivenReader.read` refuses it, when nothing says how long its samples last, and when it
    is not as wide as most of its modality.
    """
    quarantined: list[Quarantined] = []
    hashes: dict[GivenFeatures, str] = {}
    widths: dict[GivenFeatures, int] = {}
    bringing = [clip for clip in clips if clip.given]
    if bringing:
        reader = GivenReader(root)
        with progress("datasets: read given features", len(bringing)) as advance:
            for clip in bringing:
                for one in clip.given:
                    try:
                        array = reader.read(one)
                        _check_clock(one, array)
                    except MediaError as error:
                        quarantined.append(_row(clip, one, error))
                        continue
                    hashes[one], widths[one] = array.sha256(), array.width
                advance(1)
    usual = majority_widths((one.modality, width) for one, width in widths.items())
    kept = []
    for clip in clips:
        for one in clip.given:
            if one in widths and widths[one] != usual[one.modality]:
                quarantined.append(_row(clip, one, _other_width(one, widths[one], usual[one.modality])))
        usable = tuple(one for one in clip.given if widths.get(one) == usual.get(one.modality, -1))
        kept.append(replace(clip, given=usable) if usable != clip.given else clip)
    return Readable(clips=tuple(kept), hashes=hashes, quarantined=tuple(quarantined))


def _check_clock(given: GivenFeatures, array: GivenArray) -> None:
    known = given.rate_hz or array.rate_hz or given.end_s or array.times_s is not None
    if len(array.values) > 1 and not known:
        raise MediaError(
            "nothing says when these samples are",
            where=f"{given.key}: {given.modality} in {given.path}",
            seen=f"{len(array.values)} samples, no rate",
            allowed="samples a second, times, or the clip's start and end",
            remedy=f"Give the rate of {given.modality!r} in features.json or params.yaml, or start_s and end_s",
            code=Code.NO_RATE,
        )


def _other_width(given: GivenFeatures, seen: int, usual: int) -> MediaError:
    return MediaError(
        "the array is not as wide as those of the other clips",
        where=f"{given.key}: {given.modality} in {given.path}",
        seen=seen,
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
