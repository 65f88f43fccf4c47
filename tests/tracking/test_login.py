"""The login of MLflow's basic auth app as `infra/` configures it, asked over its real server application."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from components.tracking.login import PROXY_VARIABLE
from components.tracking.versions import PROMOTED_BY
from pipelines.commands.service.mlflow_server import server_environment
from pipelines.kubeflow import kustomize
from tests.pipelines.projects import ROOT

HOST, PASSWORD, ADMIN = "mlflow.example.org", "p" * 64, "a" * 16
# MLflow reads its configuration when it is imported, so the application gets a process of its own. Each question is
# method, path, login or None, origin or None, body; `before` is what an administrator has done.
SCRIPT = """
import json, sys
from fastapi.testclient import TestClient
from mlflow.server.auth import create_app
from mlflow.server import app
made = create_app(app)
client = TestClient(made, base_url="http://mlflow.example.org")
answers = []
for method, path, login, origin, body in json.loads(sys.argv[1]):
    headers = {"Origin": origin} if origin else {}
    auth = tuple(login) if login else None
    answer = client.request(method, path, auth=auth, headers=headers, json=body)
    answers.append([answer.status_code, answer.text])
print("ANSWERS" + json.dumps(answers))
"""
API = "/api/2.0/mlflow"
ADA, ROOT_USER = ("ada@example.org", PASSWORD), ("admin", ADMIN)


def answers(
    folder: Path, *questions: tuple[str, str, tuple[str, str] | None, str | None, Any]
) -> list[tuple[int, str]]:
    """Status and text of each answer of a new server, whose container is that of `infra/overlays/prod-oidc`."""
    manifests = kustomize.render(ROOT / "infra" / "overlays" / "prod-oidc")
    (server,) = kustomize.find(manifests, "Deployment", "mer-mlflow")["spec"]["template"]["spec"]["containers"]
    login = kustomize.find(manifests, "ConfigMap", "mer-mlflow-login")["data"]["basic_auth.ini"]
    (folder / "login.ini").write_text(login.replace("postgresql+psycopg://", f"sqlite:///{folder / 'login.db'}"))
    literal = {entry["name"]: entry["value"] for entry in server["env"] if "value" in entry}
    own = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "login.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "s" * 32,
        "MLFLOW_TRACKING_URI": "",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        PROXY_VARIABLE: PASSWORD,
    }
    assert {PROXY_VARIABLE, "MLFLOW_AUTH_ADMIN_PASSWORD"} <= {entry["name"] for entry in server["env"]}
    command = [sys.executable, "-c", SCRIPT, json.dumps(questions)]
    environment = {**server_environment(), **literal, **own}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(answer) for answer in json.loads(done.stdout.rpartition("ANSWERS")[2])]


@pytest.mark.integration
@pytest.mark.skipif(find_spec("flask_wtf") is None, reason="MLflow's basic auth app needs Flask-WTF: `make dev`")
def test_whom_the_proxy_lets_in_is_a_user_and_nobody_else_is(tmp_path: Path) -> None:
    page, stranger = f"https://{HOST}", "https://evil.example.org"
    alias = {"name": "mer", "alias": "champion", "version": "1"}
    version = {"name": "mer", "source": "s3://mer-mlflow/0/model"}
    leave = {"username": ADA[0], "resource_type": "registered_model", "resource_id": "mer", "permission": "EDIT"}
    search = ("POST", "/ajax-api/2.0/mlflow/experiments/search", ADA)
    got = answers(
        tmp_path,
        ("GET", "/health", None, None, None),
        (*search[:2], None, page, {"max_results": 5}),
        (*search, page, {"max_results": 5}),  # which makes ada known
        (*search, stranger, {"max_results": 5}),
        (*search[:2], ("ada@example.org", "q" * 64), page, {"max_results": 5}),
        (*search[:2], ("admin", PASSWORD), page, {"max_results": 5}),
        ("POST", f"{API}/registered-models/create", ROOT_USER, None, {"name": "mer"}),
        ("POST", f"{API}/model-versions/create", ROOT_USER, None, version),
        ("POST", f"{API}/registered-models/alias", ADA, page, alias),
        ("POST", "/api/3.0/mlflow/users/permissions/grant", ROOT_USER, None, leave),
        ("POST", f"{API}/registered-models/alias", ADA, page, alias),
        ("GET", f"{API}/model-versions/get?name=mer&version=1", ADA, None, None),
        # A route of MLflow's second framework, which asks for the login by a bridge.
        ("GET", f"{API}-artifacts/artifacts/none.html", ADA, None, None),
        ("GET", f"{API}-artifacts/artifacts/none.html", ("admin", PASSWORD), None, None),
    )
    statuses = [status for status, _ in got]
    assert statuses[:6] == [200, 401, 200, 403, 401, 401]
    assert statuses[6:11] == [200, 200, 403, 200, 200], "\n".join(map(str, got))
    tags = {tag["key"]: tag["value"] for tag in json.loads(got[11][1])["model_version"]["tags"]}
    assert tags[PROMOTED_BY] == ADA[0]
    assert statuses[12] not in {401, 500}, got[12]
    assert statuses[13] == 401
