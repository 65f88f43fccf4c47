"""The routes about the version in service and the others."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Depends, FastAPI, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException

from components.serving.answers.schemas import ExampleClip, ServedModel, Versions
from components.serving.http import about
from components.serving.http.documented import API_KEY, asked
from components.serving.http.observed import CARD, EXAMPLE, MODEL, TERMS, VERSIONS
from components.serving.service import Service

MARKDOWN = "text/markdown"
WITHOUT_IT = "the version was registered without it"


def add_descriptions(app: FastAPI, service: Service) -> None:
    """Adds them to the application around a replica's service."""

    @app.get(MODEL, summary="What is the version in service?", responses=asked(), dependencies=[Depends(API_KEY)])
    def model() -> ServedModel:
        return about.model(service)

    @app.get(
        CARD,
        summary="Its model card",
        response_class=PlainTextResponse,
        responses=asked(),
        dependencies=[Depends(API_KEY)],
    )
    def card() -> Response:
        return _markdown(about.card(service.reference()))

    @app.get(
        TERMS,
        summary="Licence and consent of its data",
        response_class=PlainTextResponse,
        responses=asked(),
        dependencies=[Depends(API_KEY)],
    )
    def terms() -> Response:
        return _markdown(about.terms(service.reference()))

    @app.get(EXAMPLE, summary="A clip to try it with", responses=asked(), dependencies=[Depends(API_KEY)])
    def example() -> ExampleClip:
        clip = about.example(service)
        if clip is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, WITHOUT_IT)
        return clip

    @app.get(VERSIONS, summary="Which versions are there?", responses=asked(), dependencies=[Depends(API_KEY)])
    def versions() -> Versions:
        return about.versions(service.reference())


def _markdown(text: str | None) -> Response:
    if text is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, WITHOUT_IT)
    return Response(text, media_type=MARKDOWN)
