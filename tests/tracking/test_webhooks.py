"""A real MLflow server that tells a real receiver of a moved alias."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from components.contracts.errors import ConfigError
from components.contracts.layout import Layout
from components.rollout.webhook_server import listening
from components.tracking.client import Client
from components.tracking.errors import MlflowRefusedError
from components.tracking.versions import remove_alias, set_alias
from components.tracking.webhooks import ensure_webhook, name_of, server_variables
from pipelines.commands.service.mlflow_server import free_port, mlflow_server, wait_ready
from pipelines.commands.service.woken import register
from tests.pipelines.projects import make_project

SECRET = "a secret of the tests"
MODEL = "mer models/ours"
SENT_S = 30.0


def test_a_webhook_has_a_name_that_mlflow_takes() -> None:
    assert name_of("mer") == "mer-mer"
    assert name_of("größe/2 ") == "mer-gr--e-2"
    assert len(name_of("m" * 200)) <= 62


def test_its_secret_stays_readable_after_a_restart() -> None:
    assert server_variables(SECRET) == server_variables(SECRET)
    key = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"
    assert server_variables(SECRET)[key] != server_variables(SECRET + "!")[key]


@pytest.mark.integration
def test_a_moved_alias_wakes_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One server: it starts for twenty seconds."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    woken = threading.Event()
    log, port = tmp_path / "server.log", free_port(0, "MLflow", strict=True)
    with (
        mlflow_server(
            store_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
            artifacts=tmp_path / "artifacts",
            port=port,
            log=log,
            variables=server_variables(SECRET),
        ) as server,
        listening(SECRET, woken.set, host="127.0.0.1", port=0) as url,
    ):
        wait_ready(server.address, log)
        client = Client(server.address)
        client.create_registered_model("ours")
        for _ in range(2):
            client.create_model_version("ours", source="s3://somewhere/model")
        ensure_webhook(MODEL, "http://127.0.0.1:9/", "the secret of before", tracking_uri=server.address)
        ensure_webhook(MODEL, url, SECRET, tracking_uri=server.address)
        [webhook] = client.list_webhooks()
        assert (webhook.name, webhook.url) == (name_of(MODEL), url)
        for change in (
            lambda: set_alias("ours", "champion", "1", tracking_uri=server.address),
            lambda: set_alias("ours", "champion", "2", tracking_uri=server.address),
            lambda: remove_alias("ours", "champion", tracking_uri=server.address),
        ):
            woken.clear()
            change()
            assert woken.wait(SENT_S)
        # The command, in a project.
        project = make_project(tmp_path / "project", code=False)
        monkeypatch.chdir(project)
        with pytest.raises(ConfigError, match="only a server"):
            register(url)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        Layout(project).webhook_secret.parent.mkdir(parents=True, exist_ok=True)
        Layout(project).webhook_secret.write_text(SECRET)
        assert register(url) == f"{server.address} tells {url} of aliases of mer that move"
        assert {webhook.name for webhook in client.list_webhooks()} == {name_of(MODEL), name_of("mer")}
        with pytest.raises(MlflowRefusedError, match="scheme"):
            ensure_webhook("another", "ftp://127.0.0.1/", SECRET, tracking_uri=server.address)
