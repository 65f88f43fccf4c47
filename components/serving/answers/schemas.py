"""The service's responses: one `Answer` per clip, or one `Problem`. Their JSON is stable; `schema` names its version.

`mer.answer/1` becomes `mer.answer/2` when a field is removed, or changes its meaning, its unit or its type. An added
field never does: a reader ignores fields that are new to it, as these classes do.

All times are seconds from the clip's first presentation timestamp; spans are half-open `[start_s, end_s)`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from components.contracts.errors import MerError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

VALENCE = "Unpleasant (-1) to pleasant (1); null when the version was not trained to predict it."
AROUSAL = "Calm (-1) to excited (1); null when the version was not trained to predict it."
# Where a program that asks the service looks for the key it was not given.
KEY_VARIABLE = "MER_API_KEY"
ANSWER_SCHEMA: Literal["mer.answer/1"] = "mer.answer/1"


def authorization(key: str | None = None) -> dict[str, str]:
    """The header with which a program asks: for this key, or that of `KEY_VARIABLE`; empty without either."""
    key = key or os.environ.get(KEY_VARIABLE)
    return {"Authorization": f"Bearer {key}"} if key else {}


class Record(BaseModel):
    """A frozen part of an answer. Unknown keys, which a later version may write, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class ModelIdentity(Record):
    """The version that gave the answer."""

    name: str = Field(description="Registered model's name.")
    version: str = Field(description="Registered version, or 'unregistered' for a bundle folder.")
    git_commit: str = Field(description="Commit of the code that trained it; 'unknown' if it was not in git.")
    data_sha256: str = Field(description="Hash of the exact training list (the catalog).")
    bundle_sha256: str = Field(description="Hash of the version's bundle.")
    trained_on: str = Field(
        default="",
        description="Whether recordings of people or rendered people, and of which datasets; empty when not recorded.",
    )


class ClipFacts(Record):
    """The clip that was judged."""

    name: str = Field(description="File name as given.")
    duration_s: float = Field(description="Length of the clip, seconds.")
    rate_hz: float = Field(description="Steps per second of the timeline.")
    language: str | None = Field(
        default=None, description="Of the words, as an ISO 639 code; null without words, or where they are not enough."
    )


class ModalityView(Record):
    """The prediction from one modality alone, for the whole clip."""

    emotion: str = Field(description="Its most probable class.")
    confidence: float = Field(description="Calibrated probability of that class, 0 to 1.")
    posterior: dict[str, float] = Field(description="Class to calibrated probability; sums to 1.")


class Contradiction(Record):
    """Whether face, voice, words and body agree; a clip is as contradictory as its worst moment."""

    score: float | None = Field(
        description="Share of ordinary clips whose worst moment is less contradictory, 0 to 1: 5 % of them reach 0.95. "
        "Null when there are not two modalities to compare."
    )
    threshold: float = Field(
        description="A clip with this score or more counts as contradictory; few ordinary clips reach it."
    )
    at_s: float | None = Field(description="The worst moment, seconds; null with `score`.")
    pair: tuple[str, str] | None = Field(description="The two modalities furthest apart then; null with `score`.")
    modalities: dict[str, ModalityView] = Field(description="Present modality to its own prediction for the clip.")
    words: str = Field(description="The same as a sentence.")


class ContradictionSpan(Record):
    """A stretch over which two modalities contradict each other."""

    onset_s: float
    offset_s: float
    score: float = Field(description="As the clip's score, of the stretch's worst moment.")
    pair: tuple[str, str] = Field(description="The two modalities furthest apart at that moment.")
    says: dict[str, str] = Field(description="Modality to the emotion that it alone shows over the stretch.")
    words: str = Field(description="The same as a sentence.")


class ModalityDistance(Record):
    """How far one modality lies from the training data."""

    distance: float = Field(description="Distance of the clip's mean feature from the training data, no unit.")
    threshold: float = Field(description="The distance that held-out clips of known subjects rarely exceed.")
    outside: bool = Field(description="distance > threshold.")


class OutsideTraining(Record):
    """Whether the clip is unlike what the version was trained on; such an answer deserves less trust."""

    flag: bool = Field(description="True when any modality lies outside, or none could be judged.")
    modalities: dict[str, ModalityDistance] = Field(description="Per present modality.")
    words: str = Field(description="The same as a sentence.")


class Moment(Record):
    """One step of the timeline."""

    start_s: float
    end_s: float
    emotion: str | None = Field(description="Most probable class; null where no modality is present.")
    posterior: dict[str, float] = Field(description="Class to calibrated probability; empty where none is present.")
    present: tuple[str, ...] = Field(description="Modalities that are valid in this step.")
    contradiction: float | None = Field(
        default=None,
        description="As the clip's contradiction score, of this moment; null with fewer than two predictions.",
    )
    valence: float | None = Field(default=None, description=VALENCE)
    arousal: float | None = Field(default=None, description=AROUSAL)


class ModalityReason(Record):
    """What one modality contributes to an episode or a transition."""

    change: float = Field(
        description="By how much the probability of the emotion (of a transition: its rise) is larger with it than "
        "without; below 0 where it points to something else."
    )
    turned_at_s: float | None = Field(
        default=None, description="When its own prediction turned to the emotion, seconds; null where it did not."
    )
    instead: str | None = Field(
        default=None,
        description="The emotion of the episode without it; null where nothing is left, or of a transition.",
    )


class Why(Record):
    """What an episode or a transition rests on, found by leaving out one modality at a time."""

    first: str | None = Field(
        description="The modality that turned first; null where none did, or several within a quarter of a second."
    )
    most: str | None = Field(
        description="The modality without which the answer changes most; null where none changes it by 0.05."
    )
    modalities: dict[str, ModalityReason] = Field(description="Per modality that is present there.")
    spoken: str | None = Field(default=None, description="The words said in the episode, or around the transition.")
    words: str = Field(description="The same as sentences.")


class EpisodeView(Record):
    """One stretch of one emotion."""

    onset_s: float
    offset_s: float
    emotion: str
    intensity: float = Field(description="0 to 1; how strongly the posterior stood out over the episode.")
    kind: str = Field(description="'flash' (brief) or 'sustained'; 'moment' in a clip of one.")
    why: Why | None = Field(default=None, description="What it rests on; null unless it was asked for.")


class Transition(Record):
    """A change from one emotion to the next."""

    at_s: float
    before: str
    after: str
    why: Why | None = Field(default=None, description="What it rests on; null unless it was asked for.")


class Answer(Record):
    """The whole answer about one clip."""

    schema_name: Literal["mer.answer/1"] = Field(default=ANSWER_SCHEMA, alias="schema")
    model: ModelIdentity
    clip: ClipFacts
    presence: dict[str, float] = Field(
        description="Modality of the version to the share of steps in which it is valid."
    )
    notes: tuple[str, ...] = Field(description="Remarks on the input, as sentences.")
    posterior: dict[str, float] = Field(
        description="Whole clip: class to calibrated probability; sums to 1, or empty when nothing could be judged."
    )
    emotion: str | None = Field(
        description="Whole clip: the most probable class; null when the clip has nothing the version was trained on."
    )
    confidence: float | None = Field(description="Whole clip: its calibrated probability; null with `emotion`.")
    contradiction: Contradiction
    contradictions: tuple[ContradictionSpan, ...] = Field(
        default=(), description="The stretches of time in which modalities contradict each other; none in most clips."
    )
    valence: float | None = Field(default=None, description=f"Whole clip. {VALENCE}")
    arousal: float | None = Field(default=None, description=f"Whole clip. {AROUSAL}")
    outside_training: OutsideTraining
    adapted_to: str | None = Field(
        default=None,
        description="The recordings by whose mean and spread the features were standardised, with their number per "
        "modality; null: all training clips.",
    )
    timeline: tuple[Moment, ...]
    face_boxes: tuple[tuple[float, float, float, float] | None, ...] = Field(
        default=(),
        description="Per moment of the timeline the face that was read: left, top, right and bottom as shares of the "
        "picture's width and height, null where none was; empty in a clip without.",
    )
    episodes: tuple[EpisodeView, ...]
    transitions: tuple[Transition, ...]

    def __repr__(self) -> str:
        """In a line: the whole has an entry per tenth of a second."""
        judged = "nothing could be judged" if self.confidence is None else f"{self.emotion} {self.confidence:.0%}"
        length = f"{self.clip.duration_s:.1f} s, {len(self.episodes)} episode{'s' * (len(self.episodes) != 1)}"
        return f"<Answer {self.clip.name}: {judged}, {length}, by {self.model.name} {self.model.version}>"

    __str__ = __repr__

    def to_json(self) -> str:
        """One line of JSON with the documented names."""
        return self.model_dump_json(by_alias=True)

    def to_pandas(self) -> DataFrame:
        """The timeline: one row per moment, with `start_s`, `end_s`, `emotion`, `confidence`, `present` (modalities,
        joined by +), `contradiction`, `valence`, `arousal`, and one column per class with its probability. Empty
        cells are NaN or None: nothing could be judged there."""
        import pandas as pd

        rows = [
            {
                "start_s": moment.start_s,
                "end_s": moment.end_s,
                "emotion": moment.emotion,
                "confidence": max(moment.posterior.values(), default=None),
                "present": "+".join(moment.present),
                "contradiction": moment.contradiction,
                "valence": moment.valence,
                "arousal": moment.arousal,
                **{name: moment.posterior.get(name) for name in self.posterior},
            }
            for moment in self.timeline
        ]
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """The clip over time as a matplotlib figure; see `serving/plot.py`."""
        from components.serving.answers.plot import figure

        return figure(self)


class ProblemDetail(Record):
    """Why there is no answer: what, where, the value seen, the values allowed and what to do."""

    code: str
    what: str
    where: str | None = None
    seen: str | None = None
    allowed: str | None = None
    remedy: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _writable(cls, value: object) -> object:
        """Half a surrogate pair, as JSON may hold it, cannot be written as UTF-8."""
        return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


class Problem(Record):
    """The body of every response that is not an answer."""

    error: ProblemDetail
    request_id: str | None = Field(
        default=None, description="Of the request; also in the header X-Request-Id and in the log of the service."
    )

    @classmethod
    def of(cls, error: MerError) -> Problem:
        """The body for an error of the project's tree."""
        return cls(
            error=ProblemDetail(
                code=error.code,
                what=error.what,
                where=error.where,
                seen=None if error.seen is None else str(error.seen),
                allowed=None if error.allowed is None else str(error.allowed),
                remedy=error.remedy or None,
            )
        )


class EncoderView(Record):
    """What makes the features of a modality."""

    encoder: str = Field(description="As in `features.encoders`.")
    fingerprint: str = Field(description="SHA-256 of all that changes its numbers.")
    width: int = Field(description="Features per step.")


class GateView(Record):
    """One gate of a version."""

    name: str
    verdict: str = Field(default="", description="'passed', 'failed', or 'not enough evidence'.")
    words: str = Field(description="What was measured, and what was wanted.")


class ClipLimits(Record):
    """What a request may cost."""

    max_bytes: int = Field(description="Of the clip's file.")
    max_duration_s: float = Field(description="Of the clip, seconds.")
    max_side_px: int = Field(description="Of the picture.")
    max_frame_rate_hz: float = Field(description="Of the picture.")
    max_features_bytes: int = Field(description="Of a body with features.")
    request_timeout_s: float | None = Field(description="From the last byte of the request; null: any.")


class ClipPicture(Record):
    """A picture of a clip."""

    at_s: float = Field(description="When it is shown, after the first picture.")
    jpeg: str = Field(description="Base64.")


class ClipPictures(Record):
    """The response of `POST /v1/pictures`; empty for a clip without a picture."""

    pictures: tuple[ClipPicture, ...]


class ExampleClip(Record):
    """The response of `GET /v1/model/example`: a drawn person who speaks for four seconds."""

    media: str = Field(description="An mp4, base64.")
    transcript: str = Field(description="What the person says.")


class ServedVersion(Record):
    """The response of `GET /v1/version`: the version that this replica serves."""

    name: str
    version: str
    bundle_sha256: str
    git_commit: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    replica: str = Field(description="Name of the replica that answered.")
    rate_hz: float = Field(default=10.0, description="Steps per second of a timeline.")
    causal: bool = Field(
        default=False, description="Whether a live stream's steps are judged from those before them alone."
    )
    trained_on: str = Field(default="", description="As in `ModelIdentity`.")


class ServedModel(Record):
    """The response of `GET /v1/model`: what the version is, and what it takes."""

    version: ServedVersion
    rate_hz: float = Field(description="Steps per second of its grid.")
    encoders: dict[str, EncoderView] = Field(description="Modality to its encoder.")
    limits: ClipLimits
    corpora: dict[str, str] = Field(description="Dataset that it was trained on to `recorded` or `rendered`.")
    figures: dict[str, Any] = Field(description="Its headline figures on held-out people, with intervals.")
    gates: tuple[GateView, ...]


class VersionEntry(Record):
    """One registered version."""

    version: str
    bundle_sha256: str | None
    served: bool = Field(description="Whether this replica has it.")
    aliases: tuple[str, ...]
    gates_passed: bool | None = Field(description="Null where the registry does not say.")
    rollout_state: str | None = Field(description="What became of its promotion; null before one.")
    registered_at: str = Field(description="UTC, ISO 8601.")


class Versions(Record):
    """The response of `GET /v1/versions`."""

    name: str = Field(description="Of the registered model.")
    versions: tuple[VersionEntry, ...] = Field(description="The newest first.")
