"""MLflow's login, with a note of who moves an alias, and with people whom an OIDC proxy has let in.

MLflow's basic auth app asks this module who calls (`authorization_function` of its configuration). Who moves the alias
of the rollout, by the API or by the button in the UI, is written on the version as the tag `promoted.by`, which the
rollout shows as `rollout.by`: MLflow itself keeps no user with an alias.

A proxy before the server (`infra/components/mlflow-oidc`) sends the e-mail address of whom it let in as the user, and
as the password one that only the two have. Such a caller is a user of MLflow like the others, made at the first call,
and has the permissions that an administrator gives to the address.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from components.tracking.versions import PROMOTED_BY

if TYPE_CHECKING:
    from flask import Response

# The alias whose moves are noted, `rollout.alias` of the project; the server does not read params.yaml.
ALIAS_VARIABLE, ALIAS = "MER_ROLLOUT_ALIAS", "champion"
# The password of the proxy. Empty: there is none.
PROXY_VARIABLE = "MER_MLFLOW_PROXY_PASSWORD"
ROUTE = "/mlflow/registered-models/alias"
DONE = 200


def authenticate() -> Any:
    """The caller as MLflow's own function returns it, or the answer that asks for a login."""
    from flask import after_this_request, request

    caller = _caller()
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


def _caller() -> Any:
    from flask import request
    from mlflow.server.auth import authenticate_request_basic_auth, make_basic_auth_response, store

    given, password = request.authorization, os.environ.get(PROXY_VARIABLE, "").encode()
    if not password or given is None or not hmac.compare_digest((given.password or "").encode(), password):
        return authenticate_request_basic_auth()
    # An address, so that a login named `admin` or `pipeline` elsewhere is not taken for the user with that password.
    name = given.username or ""
    if "@" not in name:
        return make_basic_auth_response()
    _make_known(store, name)
    return given


def _make_known(store: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    if not store.has_user(name):
        with suppress(MlflowException):  # made by a request at the same time
            store.create_user(name, secrets.token_urlsafe(32))  # nobody has this password


def _note(name: str, version: str, user: str) -> None:
    from mlflow.entities.model_registry import ModelVersionTag
    from mlflow.server.handlers import _get_model_registry_store

    _get_model_registry_store().set_model_version_tag(name, version, ModelVersionTag(PROMOTED_BY, user))
