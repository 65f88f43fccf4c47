"""A Kubeflow Pipelines server: its address, who calls it, and in which namespace runs are started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contracts.errors import ConfigError, MerError, UnavailableError


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a server is reached.

    Attributes:
        host: the address of the API, with `https://` and a path if it has one.
        namespace: where runs are started, on a server for several users: the profile. None on a server for one user.
        token_file: a file with a bearer token, read anew whenever KFP's client asks for it; None: KFP's defaults, in a
            pod its mounted token, otherwise none.
        service_account: under which the tasks run; None: the server's default (`default-editor` in a profile).
        ca_file: certificates that sign the server's; None: those of the system.
    """

    host: str
    namespace: str | None = None
    token_file: Path | None = None
    service_account: str | None = None
    ca_file: Path | None = None


def connect(server: Server) -> Any:
    """KFP's client for a server.

    Raises:
        ConfigError: a file that was named cannot be read.
        UnavailableError: the server does not answer.
    """
    for option, path in (("--token-file", server.token_file), ("--ca-file", server.ca_file)):
        if path is not None and not path.is_file():
            raise ConfigError("there is no such file", where=option, seen=str(path))
    from kfp.client import Client
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    token = None if server.token_file is None else ServiceAccountTokenVolumeCredentials(path=str(server.token_file))
    with answering(server):
        return Client(
            host=server.host,
            credentials=token,
            ssl_ca_cert=None if server.ca_file is None else str(server.ca_file),
        )


@contextmanager
def answering(server: Server) -> Iterator[None]:
    """Raises UnavailableError with the server's address where the client fails in the block."""
    try:
        yield
    except MerError:
        raise
    except Exception as error:  # the client raises urllib3's, its own and bare errors alike
        raise UnavailableError(
            "Kubeflow Pipelines does not answer, or refuses",
            where=server.host if server.namespace is None else f"{server.host}, namespace {server.namespace}",
            seen=str(error),
            remedy="Check --host, --namespace, --token-file and --ca-file",
        ) from error
