"""A real S3 server for tests: moto's, in this process, on a free port of loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from components.datasets import remote

BUCKET = "corpora"


@contextmanager
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Yields an empty bucket and names its server in the environment, as an operator would."""
    import pyarrow.fs as pafs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE", "HTTP_PROXY", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        store = pafs.S3FileSystem(
            region="us-east-1", endpoint_override=f"http://{host}:{port}", allow_bucket_creation=True
        )
        store.create_dir(BUCKET)
        yield Bucket(store, f"http://{host}:{port}")
    finally:
        server.stop()


class Bucket:
    """What a test does to the bucket, and what it asks of it."""

    def __init__(self, store: object, url: str) -> None:
        self._store, self._url = store, url

    def put(self, name: str, data: bytes) -> None:
        with self._store.open_output_stream(f"{BUCKET}/{name}") as stream:  # type: ignore[attr-defined]
            stream.write(data)

    def put_raw(self, name: str, data: bytes) -> None:
        """Under a name that no HTTP client would leave as it is."""
        _backend().put_object(BUCKET, name, data)

    def put_tree(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def delete(self, name: str) -> None:
        self._store.delete_file(f"{BUCKET}/{name}")  # type: ignore[attr-defined]

    def permit(self, monkeypatch: pytest.MonkeyPatch, *actions: str) -> None:
        """Gives the environment keys that may do some actions of S3 alone, such as `ListBucket`."""
        import boto3
        import moto.settings

        monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))  # again, for these calls
        iam = boto3.client("iam", endpoint_url=self._url, region_name="us-east-1")
        user = f"user{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=user)
        if actions:
            statement = {"Effect": "Allow", "Action": [f"s3:{action}" for action in actions], "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=user, PolicyName=user, PolicyDocument=policy)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        monkeypatch.setattr(moto.settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)  # from now on keys are looked at
        remote._connected.cache_clear()

    def clear(self) -> None:
        """Forgets every object."""
        _backend().buckets[BUCKET].keys.clear()


def _backend() -> Any:
    """What the server keeps its objects in."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
