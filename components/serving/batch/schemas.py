"""What a client sends and gets about a job of many clips. Its JSON is stable, as that of answers is."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from components.serving.answers.schemas import Record

MAX_NAME = 200


class BatchClip(BaseModel):
    """One clip of a job: a file that comes with the request, or one that the service can read itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: str | None = Field(None, max_length=MAX_NAME, description="File name of a part `clip` of the request.")
    path: str | None = Field(
        None, description="Instead of it, the path of a file below one of the service's folders (`batch_sources`)."
    )
    name: str = Field(
        "", max_length=MAX_NAME, description="In the results; by default `clip` or `path`. No two may have the same."
    )
    transcript: str | None = Field(None, description="The spoken words, as of `POST /v1/predict`.")
    words: list[dict[str, Any]] | None = Field(None, description="Word times: text, start_s, end_s, in order of time.")
    physio: str | None = Field(None, max_length=MAX_NAME, description="File name of a part `physio` of the request.")
    physio_path: str | None = Field(None, description="Instead of it, a path as `path`.")
    video_track: int | None = Field(None, ge=1, lt=1000, description="Which of several pictures.")
    audio_track: int | None = Field(None, ge=1, lt=1000, description="Which of several sounds.")

    @model_validator(mode="after")
    def _one_file_of_each(self) -> Self:
        if (self.clip is None) == (self.path is None):
            raise ValueError("a clip has either `clip`, a file of the request, or `path`, a file of the service")
        if self.physio is not None and self.physio_path is not None:
            raise ValueError("body signals have either `physio` or `physio_path`")
        return self

    @property
    def shown(self) -> str:
        """Its name in the results."""
        return self.name or self.clip or self.path or ""


class BatchRequest(BaseModel):
    """A job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: list[BatchClip] = Field(min_length=1, description="In the order of the results.")
    why: bool = Field(False, description="Whether episodes and transitions have what they rest on.")


class BatchState(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Batch(Record):
    """A job, as it stands."""

    id: str = Field(description="Names the job in its address.")
    state: BatchState = Field(description="Whether a clip has been begun, and whether all are done.")
    clips: int = Field(description="How many clips it has.")
    answered: int = Field(description="How many have an answer so far.")
    failed: int = Field(description="How many have an error in place of one.")
    created_at: str = Field(description="When the service had received it, UTC.")
    finished_at: str | None = Field(None, description="When the results were complete, UTC.")
    deleted_at: str | None = Field(None, description="When they will be deleted, UTC; null before they are complete.")
