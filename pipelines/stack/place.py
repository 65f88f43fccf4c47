"""Where the parts of a stack are: its folders, its ports, its secrets. Nothing here starts anything."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.commands.service.mlflow_server import HOST, free_port

PORTS = ("postgres", "s3", "mlflow", "ray", "ray metrics 1", "ray metrics 2", "service", "prometheus")
SECRETS = ("database", "admin", "session", "pipeline", "bucket key", "bucket secret", "ray")
WEBHOOK_KEY = "webhook key"  # Fernet's, by which MLflow keeps the secrets of webhooks
BUCKET, DVC_BUCKET = "mer-mlflow", "mer-dvc"
REGION = "us-east-1"
USER = "pipeline"
# What the environment of a person may hold that would lead a part to a different place.
FOREIGN = ("MLFLOW_", "AWS_", "PG", "RAY_", "MER_", "PROMETHEUS_")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack.

    Attributes:
        folder: what belongs to this stack alone, deleted with it; short, since sockets are in it.
        logs: what the parts say, kept.
        code: the project's root, whose code and manifests are run.
        ports: part → port on loopback.
        secrets: name → random text. They are in the environment of the parts that need them and nowhere else.
    """

    folder: Path
    logs: Path
    code: Path
    ports: Mapping[str, int] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)

    @classmethod
    def make(cls, *, folder: Path, logs: Path, code: Path) -> Stack:
        """A stack with free ports, new secrets and a folder of temporary files."""
        made = {name: secrets.token_hex(32) for name in SECRETS}
        made[WEBHOOK_KEY] = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        stack = cls(folder=folder, logs=logs, code=code, ports=_ports(), secrets=made)
        stack.temporary.mkdir()
        return stack

    @property
    def project(self) -> Path:
        """The project that the main job runs in."""
        return self.folder / "project"

    @property
    def temporary(self) -> Path:
        """Temporary files of Ray's processes, which are killed at the end and remove none."""
        return self.folder / "tmp"

    @property
    def keys(self) -> Path:
        """The API keys of the service."""
        return self.folder / "keys.json"

    def url(self, part: str, host: str = HOST) -> str:
        """The address of a part that speaks HTTP."""
        return f"http://{host}:{self.ports[part]}"

    @property
    def tracking(self) -> str:
        """MLflow's address, by a name that it answers to: its allowed hosts are those of production."""
        return self.url("mlflow", "localhost")

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's variables without those that name other servers, and with these."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {**own, "PYTHONPATH": str(self.code), "PYTHONUNBUFFERED": "1", **variables}

    @property
    def bucket(self) -> dict[str, str]:
        """The variables of a client of the object store."""
        return {
            "AWS_ACCESS_KEY_ID": self.secrets["bucket key"],
            "AWS_SECRET_ACCESS_KEY": self.secrets["bucket secret"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.url("s3"),
            "MLFLOW_S3_ENDPOINT_URL": self.url("s3"),
        }

    @property
    def database(self) -> dict[str, str]:
        """The variables of a client of PostgreSQL, as libpq reads them."""
        return {
            "PGHOST": HOST,
            "PGPORT": str(self.ports["postgres"]),
            "PGUSER": "mlflow",
            "PGDATABASE": "mlflow",
            "PGPASSWORD": self.secrets["database"],
        }

    @property
    def ray(self) -> dict[str, str]:
        """The variables of Ray's processes and of who connects to them."""
        from components.runtime.cluster import LOOPBACK

        return {
            **LOOPBACK,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.secrets["ray"],
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            "RAY_worker_niceness": "0",  # with Ray's 15 Serve starves where the other parts keep the processors busy
            # Where it notes its address for others of this machine, who shall not use it.
            "RAY_TMPDIR": str(self.folder),
            "TMPDIR": str(self.temporary),
        }

    @property
    def client(self) -> dict[str, str]:
        """The variables of the pipeline and the reconciler, which use all parts."""
        variables = {
            "RAY_ADDRESS": f"{HOST}:{self.ports['ray']}",
            "MLFLOW_TRACKING_URI": self.tracking,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self.secrets["pipeline"],
            "MER_API_KEYS_FILE": str(self.keys),
        }
        return self.environment(**self.bucket, **self.ray, **variables)


def _ports() -> dict[str, int]:
    """Free ports, all different."""
    ports: dict[str, int] = {}
    while len(ports) < len(PORTS):
        port = free_port(0, "stack", strict=True)
        if port not in ports.values():
            ports[PORTS[len(ports)]] = port
    return ports
