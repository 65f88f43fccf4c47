"""What the OpenAPI document says of keys, bodies and forms of the answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Query
from fastapi.security import HTTPBearer

from components.serving.answers.forms import MEDIA_TYPES
from components.serving.http.feature_body import SAFETENSORS
from components.serving.http.problems import PROBLEMS

# Documents the key; what checks it stands before this application (`access.py`).
API_KEY = HTTPBearer(
    scheme_name="API key",
    description="Of `mer keys create`; not needed on the machine itself unless `serving.require_key`.",
    auto_error=False,
)
Why = Annotated[
    bool, Query(description="Whether episodes and transitions have what they rest on; it takes a little longer.")
]
IN_EVERY_FORM: dict[str, object] = {
    "description": "The answer, in the form that `Accept` asks for: JSON, or its moments as a table, its episodes as "
    "subtitles, or text.",
    "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES if kind != "application/json"},
}


def _form(**fields: dict[str, object]) -> dict[str, object]:
    """The body of a form: a clip, which is required, and other fields."""
    schema = {"type": "object", "required": ["clip"], "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


PREDICT_BODY = _form(
    clip={"type": "string", "format": "binary", "description": "A video or sound file."},
    transcript={
        "type": "string",
        "description": "The spoken words: text, SubRip, WebVTT, TextGrid, or a recogniser's JSON.",
    },
    words={
        "type": "string",
        "description": 'Word times as JSON: [{"text", "start_s", "end_s"}, …] in order of time.',
    },
    video_track={"type": "integer", "minimum": 1, "description": "Which of several pictures."},
    audio_track={"type": "integer", "minimum": 1, "description": "Which of several sounds."},
    physio={
        "type": "string",
        "format": "binary",
        "description": "Parquet with `time_s` (seconds) and one column per channel (ecg, eda, …).",
    },
)
CLIP_BODY = _form(clip={"type": "string", "format": "binary", "description": "A video."})
FEATURES_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            SAFETENSORS: {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "Modality to its rows, one per step.",
                    "additionalProperties": {
                        "type": "array",
                        "items": {"type": ["array", "null"], "items": {"type": "number"}},
                    },
                }
            },
        },
    }
}


def asked() -> dict[int | str, dict[str, object]]:
    """The refusals of a question about versions."""
    return only(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE)


def only(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Those refusals alone."""
    return {status: PROBLEMS[status] for status in statuses}
