"""The rows that pass between components, and their Arrow schemas.

`Clip` is a row of a clip table (datasets → alignment), `AlignedClip` a row of an aligned shard (alignment → features),
`Quarantined` a row of a quarantine table (any stage → the person who repairs the data). Masks are True = valid.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.contracts.codes import current
from components.contracts.errors import MerError
from components.contracts.timebase import Grid


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One emotion over `[start_s, end_s)`; `emotion` is a canonical name."""

    start_s: float
    end_s: float
    emotion: str


@dataclass(frozen=True, kw_only=True)
class Word:
    """One spoken word over `[start_s, end_s)`; of a clip that is not aligned yet, also a line of several words."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Ground truth of a rendered corpus.

    `kind` is one of transition, flash, contradiction, missing, corrupted, variable_frame_rate, late_audio; `modality`
    the modality concerned, if any; `emotion` the planted one, if any.
    """

    kind: str
    modality: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    emotion: str | None = None


@dataclass(frozen=True, kw_only=True)
class GivenFeatures:
    """Ready-made features of one modality: one array of a file of the corpus, see `datasets/given.py`.

    `modality` is any name of the form `[a-z][a-z0-9_]*`; `key` names the array in the file. Its samples lie over
    `[start_s, end_s)` of the clip: at `rate_hz` where that is known, else evenly; a single sample holds throughout.
    `end_s` None is the end of the samples, or of the clip for a single sample.
    """

    modality: str
    path: str
    key: str
    rate_hz: float | None = None
    start_s: float = 0.0
    end_s: float | None = None


# The fields of a clip that name its media.
MEDIA_PATHS = ("video_path", "audio_path", "physio_path", "pictures_path")
# The fields of a clip that are records themselves.
PARTS = ("given", "words", "segments", "planted")


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One clip of a corpus: its media, its labels and its person.

    `clip_id` is `<dataset>/<name in the corpus>`: stable, never a position. `content_sha256` covers the bytes of every
    media file, the span, the crop and the tracks, the words and the given features: all that alignment reads. Paths are
    absolute, or relative to the project's root. `emotion` (of the whole clip) and `segments` (of parts of it) hold
    canonical names; either may be absent. `split` is the corpus's own split if it has one. `groups` are optional
    demographics for slices.

    The clip is `[start_s, end_s)` of its media files (picture, sound, physiology), in seconds from a file's first
    presentation timestamp (of a physiological file: from its zero); `end_s` None is the end of the files. All other
    times of the clip (words, segments, given features, planted events) count from the clip's own start. `crop` is the
    part of the picture that shows the person, as shares of its width and height (x0, y0, x1, y1, from the upper left):
    faces outside of it are ignored.

    `video_track` and `audio_track` choose one of several tracks of the files, counted from 1 among those of the kind;
    None leaves the choice to the file's default flags (`media/tracks.py`).

    `pictures_path` is a folder of numbered pictures (`00001.jpg`, from 1, some may be missing), already cropped to the
    face. Picture k is shown at the k-th presentation timestamp of the video, if there is one, else at
    (k - 1) / `pictures_rate_hz`; the clip's zero is the time of picture 1, whether or not it exists.
    """

    clip_id: str
    dataset: str
    content_sha256: str
    subject_id: str
    session_id: str
    video_path: str | None = None
    audio_path: str | None = None
    physio_path: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    crop: tuple[float, float, float, float] | None = None
    pictures_path: str | None = None
    pictures_rate_hz: float | None = None
    video_track: int | None = None
    audio_track: int | None = None
    given: tuple[GivenFeatures, ...] = ()
    transcript: str | None = None
    words: tuple[Word, ...] = ()
    emotion: str | None = None
    segments: tuple[Segment, ...] = ()
    valence: float | None = None
    arousal: float | None = None
    text_id: str | None = None
    split: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    consent: str = ""
    planted: tuple[Planted, ...] = ()

    @property
    def media_paths(self) -> tuple[str, ...]:
        """The paths among `MEDIA_PATHS` that the clip has."""
        return tuple(path for name in MEDIA_PATHS if (path := getattr(self, name)))

    @property
    def main_path(self) -> str | None:
        """The file that represents the clip: the first of `media_paths`, else of its given features."""
        return next(iter(self.media_paths), None) or next((given.path for given in self.given), None)

    def to_row(self) -> dict[str, Any]:
        """The clip as a row of `CLIP_SCHEMA`, in a tenth of the time of `asdict`, which copies every value deeply."""
        parts = {name: [dict(vars(part)) for part in getattr(self, name)] for name in PARTS}
        return {**vars(self), **parts, "groups": sorted(self.groups.items())}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Clip:
        """The clip of a row of `CLIP_SCHEMA`."""
        fields = dict(row)
        fields["words"] = tuple(Word(**word) for word in row["words"])
        fields["segments"] = tuple(Segment(**segment) for segment in row["segments"])
        fields["planted"] = tuple(Planted(**planted) for planted in row["planted"])
        fields["given"] = tuple(GivenFeatures(**given) for given in row["given"])
        fields["groups"] = dict(row["groups"])
        fields["crop"] = None if row["crop"] is None else tuple(row["crop"])
        return cls(**fields)


_SPAN = [("start_s", pa.float64()), ("end_s", pa.float64())]

CLIP_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("video_path", pa.string()),
        pa.field("audio_path", pa.string()),
        pa.field("physio_path", pa.string()),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64()),
        pa.field("crop", pa.list_(pa.float64())),  # not of fixed size: Parquet does not restore a missing one of those
        pa.field("pictures_path", pa.string()),
        pa.field("pictures_rate_hz", pa.float64()),
        pa.field("video_track", pa.int32()),
        pa.field("audio_track", pa.int32()),
        pa.field(
            "given",
            pa.list_(
                pa.struct(
                    [
                        ("modality", pa.string()),
                        ("path", pa.string()),
                        ("key", pa.string()),
                        ("rate_hz", pa.float64()),
                        *_SPAN,
                    ]
                )
            ),
        ),
        pa.field("transcript", pa.string()),
        pa.field("words", pa.list_(pa.struct([("text", pa.string()), *_SPAN]))),
        pa.field("emotion", pa.string()),
        pa.field("segments", pa.list_(pa.struct([*_SPAN, ("emotion", pa.string())]))),
        pa.field("valence", pa.float64()),
        pa.field("arousal", pa.float64()),
        pa.field("text_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("groups", pa.map_(pa.string(), pa.string())),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("consent", pa.string(), nullable=False),
        pa.field(
            "planted",
            pa.list_(pa.struct([("kind", pa.string()), ("modality", pa.string()), *_SPAN, ("emotion", pa.string())])),
        ),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of one clip's alignment.

    `coverage` is the share of steps that are valid, per modality; `offset_s` the first timestamp of the audio stream
    minus that of the picture (0 when either is absent); `drift_s_per_min` the drift of the audio clock against the
    picture clock, in seconds per minute; `notes` are texts for a reader ("no face found", "audio is silent").
    `av_offset_s` is the estimated delay of the sound after the lips, on the clip's clock, `av_offset_error_s` its
    standard error; None where it cannot be estimated. It is estimated from picture and sound, and never applied.
    """

    duration_s: float
    offset_s: float
    drift_s_per_min: float
    frame_rate_hz: float | None
    frame_interval_cv: float | None
    coverage: Mapping[str, float]
    speech_fraction: float | None
    av_offset_s: float | None = None
    av_offset_error_s: float | None = None
    notes: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """As a struct of `QUALITY_TYPE`."""
        return {**asdict(self), "coverage": sorted(self.coverage.items())}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Quality:
        """From a struct of `QUALITY_TYPE`, or from `asdict` after a round trip through JSON."""
        return cls(**{**row, "coverage": dict(row["coverage"]), "notes": tuple(row["notes"])})


@dataclass(frozen=True, kw_only=True)
class AlignedClip:
    """One clip on its grid: everything that an encoder may read, and nothing else.

    Attributes:
        clip_id, content_sha256: as in `Clip`; alignment_fingerprint: of the settings and stage version that made it.
        grid: T steps at `rate_hz`.
        face_jpeg: T entries, a square crop as JPEG or None where no face is valid. The crop is compressed on both the
            offline and the online path, so both see identical pixels.
        face_box: (T, 4) float32 x0, y0, x1, y1 in pixels of the clip's first picture; NaN where no face is valid.
        canvas: width and height of that picture, for whoever shows the boxes; it is in no table.
        pcm: (N,) int16 mono at `audio_rate_hz`, sample 0 at t = 0, zeros where the stream has no samples.
        voice_mask: (T,) True where the sound exists and is above the level floor.
        speech: (T,) float32 probability of speech.
        words: on the clip's time base; words_source: "given" (word times came with the clip), "lines" (times of lines
            did, and their words are laid over the speech within), "spread" (text laid over the speech), "recognised"
            (by a speech recogniser) or "none".
        physio: channel name → (N_c,) float32 at `physio_rate_hz`, NaN where missing.
        masks: modality → (T,) True where that modality is valid: face, voice, text, physio, and the given ones.
        quality: see `Quality`.
        given: modality → (T, D) float32, ready-made features of the corpus; they replace those that would be made from
            media under that name.
    """

    clip_id: str
    content_sha256: str
    alignment_fingerprint: str
    grid: Grid
    face_jpeg: tuple[bytes | None, ...]
    face_box: NDArray[np.float32]
    audio_rate_hz: int
    pcm: NDArray[np.int16]
    speech: NDArray[np.float32]
    words: tuple[Word, ...]
    words_source: str
    physio_rate_hz: float
    physio: Mapping[str, NDArray[np.float32]]
    masks: Mapping[str, NDArray[np.bool_]]
    quality: Quality
    given: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    canvas: tuple[int, int] | None = None

    def to_row(self) -> dict[str, Any]:
        """The clip as a row of `ALIGNED_SCHEMA`."""
        return {
            "clip_id": self.clip_id,
            "content_sha256": self.content_sha256,
            "alignment_fingerprint": self.alignment_fingerprint,
            "rate_hz": self.grid.rate_hz,
            "num_steps": self.grid.num_steps,
            "face_jpeg": list(self.face_jpeg),
            "face_box": self.face_box.astype(np.float32).ravel().tolist(),
            "audio_rate_hz": self.audio_rate_hz,
            "pcm": self.pcm.astype("<i2").tobytes(),
            "speech": self.speech.tolist(),
            "words": [asdict(word) for word in self.words],
            "words_source": self.words_source,
            "physio_rate_hz": self.physio_rate_hz,
            "physio": [(name, values.astype("<f4").tobytes()) for name, values in sorted(self.physio.items())],
            "masks": [(name, mask.tolist()) for name, mask in sorted(self.masks.items())],
            "quality": self.quality.to_row(),
            "given": [(name, values.astype("<f4").tobytes()) for name, values in sorted(self.given.items())],
            "given_widths": [(name, values.shape[1]) for name, values in sorted(self.given.items())],
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> AlignedClip:
        """The clip of a row of `ALIGNED_SCHEMA`."""
        return cls(
            clip_id=row["clip_id"],
            content_sha256=row["content_sha256"],
            alignment_fingerprint=row["alignment_fingerprint"],
            grid=Grid(rate_hz=row["rate_hz"], num_steps=row["num_steps"]),
            face_jpeg=tuple(row["face_jpeg"]),
            face_box=np.asarray(row["face_box"], dtype=np.float32).reshape(-1, 4),
            audio_rate_hz=row["audio_rate_hz"],
            pcm=np.frombuffer(row["pcm"], dtype="<i2").astype(np.int16),
            speech=np.asarray(row["speech"], dtype=np.float32),
            words=tuple(Word(**word) for word in row["words"]),
            words_source=row["words_source"],
            physio_rate_hz=row["physio_rate_hz"],
            physio={
                name: np.frombuffer(values, dtype="<f4").astype(np.float32)
                for name, values in dict(row["physio"]).items()
            },
            masks={name: np.asarray(mask, dtype=bool) for name, mask in dict(row["masks"]).items()},
            quality=Quality.from_row(row["quality"]),
            given={
                name: np.frombuffer(values, dtype="<f4").astype(np.float32).reshape(row["num_steps"], -1)
                for name, values in dict(row["given"]).items()
            },
        )


QUALITY_TYPE = pa.struct(
    [
        ("duration_s", pa.float64()),
        ("offset_s", pa.float64()),
        ("drift_s_per_min", pa.float64()),
        ("frame_rate_hz", pa.float64()),
        ("frame_interval_cv", pa.float64()),
        ("coverage", pa.map_(pa.string(), pa.float64())),
        ("speech_fraction", pa.float64()),
        ("av_offset_s", pa.float64()),
        ("av_offset_error_s", pa.float64()),
        ("notes", pa.list_(pa.string())),
    ]
)

ALIGNED_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("content_sha256", pa.string(), nullable=False),
        pa.field("alignment_fingerprint", pa.string(), nullable=False),
        pa.field("rate_hz", pa.float64(), nullable=False),
        pa.field("num_steps", pa.int32(), nullable=False),
        pa.field("face_jpeg", pa.list_(pa.binary())),
        pa.field("face_box", pa.list_(pa.float32())),
        pa.field("audio_rate_hz", pa.int32(), nullable=False),
        pa.field("pcm", pa.binary()),
        pa.field("speech", pa.list_(pa.float32())),
        pa.field("words", pa.list_(pa.struct([("text", pa.string()), *_SPAN]))),
        pa.field("words_source", pa.string(), nullable=False),
        pa.field("physio_rate_hz", pa.float64(), nullable=False),
        pa.field("physio", pa.map_(pa.string(), pa.binary())),
        pa.field("masks", pa.map_(pa.string(), pa.list_(pa.bool_()))),
        pa.field("quality", QUALITY_TYPE),
        pa.field("given", pa.map_(pa.string(), pa.binary())),
        # Separate from the values, so that a scan need not read those.
        pa.field("given_widths", pa.map_(pa.string(), pa.int32())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One clip or file that was set aside, with everything a person needs to repair it.

    Attributes:
        code: a `Code`; of the stage `validation`, the name of the broken expectation.
    """

    dataset: str
    clip_id: str
    stage: str
    code: str
    message: str
    path: str | None = None
    field: str | None = None
    seen: str | None = None
    allowed: str | None = None
    remedy: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Quarantined:
        """The row of a table or of JSON; a former code gets its present spelling."""
        return cls(**{**row, "code": current(row["code"])})

    @classmethod
    def from_error(
        cls,
        error: MerError,
        *,
        dataset: str,
        clip_id: str,
        stage: str,
        path: str | None = None,
        field: str | None = None,
    ) -> Quarantined:
        """The row for an error of the project's tree."""
        return cls(
            dataset=dataset,
            clip_id=clip_id,
            stage=stage,
            code=error.code,
            message=str(error),
            path=path,
            field=field,
            seen=None if error.seen is None else str(error.seen),
            allowed=None if error.allowed is None else str(error.allowed),
            remedy=error.remedy,
        )


QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("code", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("path", pa.string()),
        pa.field("field", pa.string()),
        pa.field("seen", pa.string()),
        pa.field("allowed", pa.string()),
        pa.field("remedy", pa.string()),
    ]
)


def clip_table(clips: Iterable[Clip]) -> pa.Table:
    """A clip table, sorted by clip id so that equal corpora give equal bytes."""
    rows = [clip.to_row() for clip in sorted(clips, key=lambda clip: clip.clip_id)]
    return pa.Table.from_pylist(rows, schema=CLIP_SCHEMA)


def clips_of(table: pa.Table) -> list[Clip]:
    """The clips of a clip table."""
    return [Clip.from_row(row) for row in table.to_pylist()]


def quarantine_table(rows: Iterable[Quarantined]) -> pa.Table:
    """A quarantine table, sorted by clip, stage and code."""
    ordered = sorted(rows, key=lambda row: (row.dataset, row.clip_id, row.stage, row.code))
    return pa.Table.from_pylist([asdict(row) for row in ordered], schema=QUARANTINE_SCHEMA)


def words_to_json(words: Iterable[Word]) -> str:
    """Words as JSON, as covered by `content_sha256` and contained in requests."""
    return json.dumps([asdict(word) for word in words])
