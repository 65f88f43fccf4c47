"""What `mer serve` says: what happens, and where things are."""

from __future__ import annotations

import sys
import time

from components.contracts.config import Params
from components.contracts.errors import MerError
from components.contracts.layout import Layout

EVENTS = ("deploy", "confirm", "refuse")


def report(kind: str, reason: str) -> None:
    """A line about what the reconciler did, if it changed something, or about trouble."""
    if kind in (*EVENTS, "trouble"):
        print(f"{time.strftime('%H:%M:%S')}  {kind}: {reason}", file=sys.stderr, flush=True)


def trouble(text: str) -> None:
    """A line about trouble."""
    report("trouble", text)


def _served(params: Params, layout: Layout, mlflow: str) -> str:
    from pipelines.served import served_line

    try:
        served = served_line(params, layout, uri=mlflow)
    except MerError as error:
        return f"not known: {error.what}"
    return served or f"nothing until a version has the alias {params.rollout.alias!r}"


def print_addresses(params: Params, layout: Layout, mlflow: str, service: str) -> None:
    """What is served, and where to go."""
    from components.serving.http.access import is_loopback

    alias, name = params.rollout.alias, params.served_model
    needs_key = params.serving.require_key or not is_loopback(params.serving.host)
    key = '-H "Authorization: Bearer $KEY" ' if needs_key else ""
    print(
        f"""
Serves       {_served(params, layout, mlflow)}
MLflow UI    {mlflow}   move the alias {alias!r} of model {name!r} to change what is served
Service      {service}   open it and drop a clip there
API          {service}/docs
Try          curl {key}-F clip=@clip.mp4 {service}/v1/predict

Ctrl-C stops everything.""",
        flush=True,
    )
