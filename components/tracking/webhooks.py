"""The webhook by which an MLflow server tells of aliases that move."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from components.tracking.client import Client

EVENTS = ("model_version_alias.created", "model_version_alias.deleted")
MAX_NAME_CHARACTERS = 50
PAGE_ROWS = 100


def ensure_webhook(model: str, url: str, secret: str, *, tracking_uri: str) -> None:
    """Makes the webhook of a registered model at the server, or gives it this address and this secret.

    Raises:
        UnavailableError: the server cannot be reached, or may not be asked.
        ModelError: it does not take the address: one that is not https, or not public
            (`server_variables` allows both).
    """
    client, name = Client(tracking_uri), name_of(model)
    for known in _all(client):
        if known.name == name:
            client.update_webhook(known.webhook_id, url=url, secret=secret, events=list(EVENTS), status="ACTIVE")
            return
    client.create_webhook(name, url, list(EVENTS), description="Wakes the reconciler of mer.", secret=secret)


def name_of(model: str) -> str:
    """The webhook's name, of the letters that MLflow takes."""
    return "mer-" + re.sub(r"[^A-Za-z0-9._-]", "-", model)[:MAX_NAME_CHARACTERS].strip("._-")


def server_variables(secret: str) -> dict[str, str]:
    """With which an MLflow server on this machine sends to this machine, and keeps the webhook's secret encrypted by a
    key that is the same after a restart."""
    key = base64.urlsafe_b64encode(hashlib.sha256(f"mlflow webhooks {secret}".encode()).digest())
    return {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": key.decode(),
        "MLFLOW_WEBHOOK_REQUEST_TIMEOUT": "5",
    }


def _all(client: Client) -> list[Any]:
    webhooks, token = [], None
    while True:
        page = client.list_webhooks(max_results=PAGE_ROWS, page_token=token)
        webhooks += page
        token = page.token
        if not token:
            return webhooks
