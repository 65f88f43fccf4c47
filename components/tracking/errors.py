"""What MLflow raises, as errors of the project.

    NotInMlflowError      there is no such run, version, alias or model     exit 5, a ModelError
    MlflowRefusedError    it does not take this value                       exit 5, a ModelError
    AlreadyInMlflowError  it has this already                               exit 5, a MlflowRefusedError
    DeniedError           the login is missing, wrong, or not enough        exit 7, an UnavailableError
    ConfigError           the address is not one                            exit 2
    UnavailableError      everything else: no answer, a different server    exit 7
                          answers, the file is broken, a disk is full

Only the last is worth trying again.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from components.contracts.codes import Code
from components.contracts.errors import ConfigError, MerError, ModelError, UnavailableError
from components.contracts.room import is_full, no_room
from components.tracking.address import VARIABLE, artifacts_of, database, is_folder, is_server

START = f"Start the server there (on one machine `make serve` does), or set {VARIABLE} to where it is."
FILE = f"The file must be a database of this MLflow, readable and writable; {VARIABLE} or tracking.uri names it."
ADDRESS = f"{VARIABLE}, or else tracking.uri, is sqlite:///PATH or http://HOST:PORT."
CREDENTIALS = "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."

MAX_REASON_CHARACTERS = 300
FAILED = re.compile(r"failed with error code 5\d\d\b")
# urllib3 begins its reasons with the connection object: "HTTPConnection(host='127.0.0.1', port=9): …".
CONNECTION = re.compile(r"^HTTPS?Connection(Pool)?\(.*?\): ")


class NotInMlflowError(ModelError):
    """MLflow has no such run, version, alias or model."""


class MlflowRefusedError(ModelError):
    """MLflow does not take what it was given."""


class AlreadyInMlflowError(MlflowRefusedError):
    """MLflow has something of that name already."""


class DeniedError(UnavailableError):
    """MLflow does not let this user do this."""


@dataclass(frozen=True)
class Kind:
    """The translation of an error: its class, message and remedy."""

    error: type[MerError]
    what: str
    remedy: str | None = None


MISSING = Kind(NotInMlflowError, "MLflow does not have this")
TAKEN = Kind(AlreadyInMlflowError, "MLflow has this already")
REFUSED = Kind(MlflowRefusedError, "MLflow does not take this")
STRANGER = Kind(DeniedError, "MLflow does not let this user in", CREDENTIALS)
OTHER = Kind(UnavailableError, "what answers here is not MLflow, or one of a different version", START)
FAILING = Kind(
    UnavailableError,
    "the MLflow server answers with an error of its own",
    f"Its log says why: a full disk, for example. {VARIABLE} names the server.",
)
NO_ADDRESS = Kind(ConfigError, "this is not an address of MLflow", ADDRESS)
# By MLflow's error code; any other means that it cannot be reached.
KINDS = {
    "RESOURCE_DOES_NOT_EXIST": MISSING,
    "NOT_FOUND": MISSING,
    "RESOURCE_ALREADY_EXISTS": TAKEN,
    "ALREADY_EXISTS": TAKEN,
    "INVALID_PARAMETER_VALUE": REFUSED,
    "PERMISSION_DENIED": STRANGER,
    "UNAUTHENTICATED": STRANGER,
    "CUSTOMER_UNAUTHORIZED": STRANGER,
    "ENDPOINT_NOT_FOUND": OTHER,
}


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raises what MLflow raises inside as an error of the project that names the store; others pass as they are."""
    try:
        yield
    except MerError:
        raise
    except Exception as error:
        meant = translation(error, uri)
        if meant is None:
            raise
        raise meant from error


def translation(error: Exception, uri: str) -> MerError | None:
    """The project's error for one of MLflow's, of its database or of its connection; None for any other."""
    from mlflow.exceptions import InvalidUrlException, MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
    from sqlalchemy.exc import SQLAlchemyError

    if not isinstance(error, MlflowException | SQLAlchemyError | sqlite3.Error | OSError):
        return None
    if is_full(error):
        return _full(error, uri)
    kind = KINDS.get(getattr(error, "error_code", ""))
    if isinstance(error, InvalidUrlException | UnsupportedModelRegistryStoreURIException) or is_folder(uri):
        kind = NO_ADDRESS
    elif _is_somebody_else(error):
        kind = OTHER
    elif kind is None and _is_of_server(error):
        kind = FAILING
    elif kind is None:
        kind = Kind(UnavailableError, "cannot reach MLflow", START if is_server(uri) else FILE)
    # MLflow's own message for a wrong address lists every kind of store that it supports.
    seen = None if kind is NO_ADDRESS else reason(error)
    return kind.error(kind.what, where=uri, seen=seen, remedy=kind.remedy)


def _full(error: Exception, uri: str) -> MerError | None:
    """A full disk of this machine, or of the server that says so."""
    file = database(uri)
    if file is not None or (isinstance(error, OSError) and error.errno is not None):
        return no_room(error, [] if file is None else [file.parent, artifacts_of(file)])
    remedy = "Make room where the server keeps its database and artifacts, then do the same again."
    return UnavailableError(
        "the disk of the MLflow server is full", where=uri, seen=reason(error), remedy=remedy, code=Code.NO_ROOM
    )


def _is_somebody_else(error: Exception) -> bool:
    """Whether an answer came that MLflow would not give: not JSON, or JSON without its error code."""
    body: Any = getattr(error, "json", None)
    return "not in a valid JSON format" in str(error) or (isinstance(body, dict) and "error_code" not in body)


def _is_of_server(error: Exception) -> bool:
    """Whether an answer came whose status is one of the server's errors (5xx; RFC 9110, section 15.6)."""
    from mlflow.exceptions import RestException

    status = getattr(getattr(error, "response", None), "status_code", 0)
    return isinstance(error, RestException) or status >= 500 or FAILED.search(str(error)) is not None


def reason(error: Exception) -> str:
    """What is at the bottom of it, in one line: of a connection that failed, why, without the whole request."""
    request = error.__context__
    pool = request.args[0] if request is not None and request.args else None
    lines = str(getattr(pool, "reason", None) or error).strip().splitlines()
    line = CONNECTION.sub("", lines[0]) if lines else type(error).__name__
    return line if len(line) <= MAX_REASON_CHARACTERS else f"{line[: MAX_REASON_CHARACTERS - 1]}…"
