"""PostgreSQL from the machine's packages, in a folder of its own, on loopback alone, with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

from components.contracts.errors import UnavailableError
from pipelines.background import POLL_S, Background, last_lines
from pipelines.stack.place import Stack

# Debian has each version's programs below a folder of its own, outside PATH.
DEBIAN = Path("/usr/lib/postgresql")
REMEDY = "Install PostgreSQL (Debian and Ubuntu: apt install postgresql; macOS: brew install postgresql)."
# The server refuses to run as root, which a container's user often is.
USERS = ("postgres", "nobody")


@cache
def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, or None: on PATH, or the newest that Debian installed."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = [path.parent for path in DEBIAN.glob("*/bin/initdb")]
    return max(versions, key=lambda folder: float(folder.parent.name), default=None)


def missing() -> str | None:
    """What to do where there is no PostgreSQL here."""
    return None if programs() else REMEDY


def user() -> str | None:
    """Under whom the server runs; None for this process's own user."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in USERS if name in known), None)


def data(stack: Stack) -> Path:
    """The folder of the database."""
    return stack.folder / "postgres" / "data"


def command(stack: Stack) -> list[str]:
    """What starts the server; makes the database first."""
    bin_folder = programs()
    if bin_folder is None:
        raise UnavailableError("there is no PostgreSQL here", where="PATH", remedy=REMEDY)
    place = data(stack)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    password = place.parent / "password"
    password.touch(mode=0o600)
    password.write_text(stack.secrets["database"])
    name = user()
    if name is not None:
        stack.folder.chmod(0o711)  # the server's user passes through, and sees only what is its own
        for path in (place.parent, password):
            shutil.chown(path, user=name)
    _make(
        [
            str(bin_folder / "initdb"), "--pgdata", str(place), "--username", "mlflow", "--pwfile", str(password),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync",
        ],
        stack,
    )  # fmt: skip
    password.unlink()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": stack.ports["postgres"],
        "unix_socket_directories": "",
        "fsync": "off",  # the folder goes with the stack
        "shared_buffers": "32MB",
    }
    given = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    return [str(bin_folder / "postgres"), "-D", str(place), *given]


def _make(command: list[str], stack: Stack) -> None:
    """Runs a program to its end, as the server's user. Interrupted, it ends with its own children, which write too."""
    process = Background(
        command, log=stack.logs / "initdb.log", environment=stack.environment(), folder=Path("/"), user=user()
    )
    try:
        process.start()
        while process.status() is None:
            time.sleep(POLL_S)
    finally:
        process.end()
    if process.status() != 0:
        seen = last_lines(process.log)
        raise UnavailableError("PostgreSQL did not make its database", where=str(data(stack)), seen=seen)


def ready(stack: Stack) -> bool:
    """Whether it lets a client in; makes the database of MLflow."""
    bin_folder = programs()
    assert bin_folder is not None  # it runs
    made = subprocess.run(
        [str(bin_folder / "createdb"), "mlflow"],
        env=stack.environment(**{**stack.database, "PGDATABASE": "postgres", "PGCONNECT_TIMEOUT": "5"}),
        capture_output=True,
        text=True,
        check=False,
    )
    return made.returncode == 0 or "already exists" in made.stderr
