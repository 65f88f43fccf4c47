"""MLflow's login, with a note of who moves an alias.

MLflow's basic auth app asks this module who calls (`authorization_function` of its configuration). Who moves the alias
of the rollout, by the API or by the button in the UI, is written on the version as the tag `promoted.by`, which the
rollout shows as `rollout.by`: MLflow itself keeps no user with an alias.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from components.tracking.versions import PROMOTED_BY

if TYPE_CHECKING:
    from flask import Response

# The alias whose moves are noted, `rollout.alias` of the project; the server does not read params.yaml.
ALIAS_VARIABLE, ALIAS = "MER_ROLLOUT_ALIAS", "champion"
ROUTE = "/mlflow/registered-models/alias"
DONE = 200


def authenticate() -> Any:
    """The caller as MLflow's own function returns it, or the answer that asks for a login."""
    from flask import after_this_request, request
    from mlflow.server.auth import authenticate_request_basic_auth

    caller = authenticate_request_basic_auth()
    user = getattr(caller, "username", None)
    if user and request.method == "POST" and request.path.endswith(ROUTE):
        asked = request.get_json(silent=True) or {}
        if str(asked.get("alias", "")).lower() == os.environ.get(ALIAS_VARIABLE, ALIAS).lower():

            @after_this_request
            def note(response: Response) -> Response:
                if response.status_code == DONE:  # this user may move it, and has
                    _note(str(asked["name"]), str(asked["version"]), user)
                return response

    return caller


def _note(name: str, version: str, user: str) -> None:
    from mlflow.entities.model_registry import ModelVersionTag
    from mlflow.server.handlers import _get_model_registry_store

    _get_model_registry_store().set_model_version_tag(name, version, ModelVersionTag(PROMOTED_BY, user))
