"""The parts of `make stack` are those of `infra/`: the container of MLflow, the rules, the compose file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.contracts.errors import ConfigError
from pipelines.kubeflow import kustomize
from pipelines.project import load
from pipelines.stack import mlflow, postgres, prometheus
from pipelines.stack import project as stack_project
from pipelines.stack.parts import PARTS, _ray_environment
from pipelines.stack.place import BUCKET, FOREIGN, Stack
from tests.pipelines.projects import ROOT

COMPOSE = ROOT / "infra" / "compose.yaml"
LOOPBACK = ("127.0.0.1", "localhost")


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    (tmp_path / "logs").mkdir()
    return Stack.make(folder=tmp_path, logs=tmp_path / "logs", code=ROOT)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text()))


def named(environment: dict[str, str]) -> set[str]:
    return {name for name in environment if name.startswith(FOREIGN)}


def test_ports_are_all_different(stack: Stack) -> None:
    assert len(set(stack.ports.values())) == len(stack.ports)


def test_mlflow_runs_as_in_production_but_for_its_address(stack: Stack) -> None:
    server, login = mlflow.container(ROOT)
    command = mlflow.command(stack)[2:]
    assert command[:2] == server["command"]
    pairs = zip(command[2:], server["args"], strict=True)
    assert {given: there for given, there in pairs if given != there} == {
        "--host=127.0.0.1": "--host=0.0.0.0",
        f"--port={stack.ports['mlflow']}": "--port=5000",
    }
    assert (stack.folder / "basic_auth.ini").read_text() == login
    assert f"--artifacts-destination=s3://{BUCKET}" in command


def test_mlflow_has_every_variable_that_it_has_in_production(stack: Stack) -> None:
    server, _ = mlflow.container(ROOT)
    manifests = kustomize.render(ROOT / mlflow.OVERLAY)
    listed = {entry["name"] for entry in server["env"]} | set(
        kustomize.find(manifests, "ConfigMap", "mer-mlflow-store")["data"]
    )
    given = mlflow.environment(stack)
    assert listed - set(given) == {"PGSSLMODE"}  # on loopback without TLS
    assert given["MLFLOW_SERVER_ALLOWED_HOSTS"].endswith("localhost:*")
    assert stack.tracking.startswith("http://localhost:")


def test_a_secret_that_the_stack_does_not_have_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow, "SECRETS", {})
    with pytest.raises(ConfigError, match="no such secret") as caught:
        mlflow.environment(stack)
    assert "mer-mlflow-admin: password" in str(caught.value.seen)


@pytest.mark.parametrize("part", [part for part in PARTS if part.name != "postgres"], ids=lambda part: part.name)
def test_no_command_line_holds_a_secret(stack: Stack, part: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 0}))
    command = " ".join(part.command(stack))
    assert not any(secret in command for secret in stack.secrets.values())
    hosts = re.findall(r"(?:address|host)[= ](\S+?)(?::\d+)?(?: |$)", command)
    assert set(hosts) <= set(LOOPBACK)


def test_the_environment_of_a_person_leads_no_part_astray(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "PGHOST", "AWS_PROFILE", "MER_TRUSTED_KEYS"):
        monkeypatch.setenv(name, "elsewhere.example.org")
    for part in PARTS:
        elsewhere = [name for name, value in part.environment(stack).items() if "example.org" in value]
        assert [name for name in elsewhere if "ALLOWED" not in name] == []
    assert named(stack.environment()) == set()


def test_prometheus_has_the_rules_of_both_files_and_asks_every_part(stack: Stack) -> None:
    alerts = {rule["alert"] for group in prometheus.rules(ROOT)["groups"] for rule in group["rules"]}
    assert alerts == {"MerRetrainingOverdue", "MerRetrainingUnknown", "MerChampionOld", "MerPromotionNotServed"}
    configured = prometheus.configuration(stack, stack.folder / "key")
    targets = [
        target for job in configured["scrape_configs"] for entry in job["static_configs"] for target in entry["targets"]
    ]
    assert targets == [f"127.0.0.1:{stack.ports[name]}" for name in ("service", "ray metrics 1", "ray metrics 2")]
    assert (ROOT / prometheus.ALERTS).is_file()


def test_the_main_jobs_project_is_one(stack: Stack) -> None:
    stack_project.make(stack)
    params = load(stack.project)
    assert (params.serving.port, params.serving.require_key) == (stack.ports["service"], True)
    assert f"endpointurl = http://127.0.0.1:{stack.ports['s3']}" in (stack.project / ".dvc" / "config").read_text()


def test_the_compose_file_has_the_same_parts(compose: dict[str, Any]) -> None:
    names = [part.name for part in PARTS]
    assert [name for name in compose["services"] if name in names] == names
    assert set(compose["services"]) - set(names) == {"ray-worker", "job"}  # the second node, and what a person runs


def test_the_compose_files_mlflow_is_that_of_production(compose: dict[str, Any]) -> None:
    server, login = mlflow.container(ROOT)
    service = compose["services"]["mlflow"]
    assert service["command"] == [*server["command"], *server["args"]]
    assert compose["configs"]["login"]["content"] == login
    literal = {entry["name"]: entry["value"] for entry in server["env"] if "value" in entry}
    assert literal.items() <= service["environment"].items()
    assert {entry["name"] for entry in server["env"]} <= set(service["environment"])


def test_the_compose_files_variables_are_the_stacks(compose: dict[str, Any], stack: Stack) -> None:
    client = set(compose["services"]["job"]["environment"])
    of_gateway = named(_ray_environment(stack)) - named(stack.client)
    # Containers have an address and a folder of their own, and share no processors with the rest of this machine.
    only_here = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_TMPDIR", "RAY_worker_niceness"}
    assert named(stack.client) - client == only_here
    assert of_gateway - set(compose["services"]["ray"]["environment"]) == {"MER_REQUEST_LOG"}


def refused_by_compose(compose: dict[str, Any]) -> list[str]:
    """What would not start, or be open to others."""
    services, volumes, wrong = compose["services"], set(compose["volumes"]), []
    for name, service in services.items():
        configs = [used["source"] for used in service.get("configs", ())]
        wrong += [f"{name}: port {port}" for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")]
        wrong += [f"{name}: needs {other}" for other in service.get("depends_on", ()) if other not in services]
        wrong += [f"{name}: config {config}" for config in configs if config not in compose["configs"]]
        mounts = [mount.partition(":")[0] for mount in service.get("volumes", ())]
        wrong += [f"{name}: volume {m}" for m in mounts if not m.startswith("./") and m not in volumes]
        wrong += [f"{name}: file {m}" for m in mounts if m.startswith("./") and not (COMPOSE.parent / m).exists()]
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy" and "healthcheck" not in services.get(other, {}):
                wrong.append(f"{name}: waits for the health of {other}")
        if ":" not in service["image"] or service["image"].endswith(":latest"):
            wrong.append(f"{name}: image {service['image']}")
    return wrong


def test_the_compose_file_is_consistent(compose: dict[str, Any]) -> None:
    assert refused_by_compose(compose) == []
    variables = re.findall(r"\$\{([^}]*)\}", COMPOSE.read_text())
    assert {name for name in variables if not name.endswith(":?")} == set()  # without a value Docker refuses


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        (("ray", "ports"), ["8000:8000"], "ray: port 8000:8000"),
        (("job", "depends_on"), {"rey": {"condition": "service_started"}}, "job: needs rey"),
        (("mlflow", "configs"), [{"source": "logon"}], "mlflow: config logon"),
        (("postgres", "volumes"), ["data:/x"], "postgres: volume data"),
        (("prometheus", "volumes"), ["./monitoring/alert.yaml:/x"], "prometheus: file ./monitoring/alert.yaml"),
        (("prometheus", "image"), "prom/prometheus:latest", "prometheus: image prom/prometheus:latest"),
        (
            ("job", "depends_on"),
            {"prometheus": {"condition": "service_healthy"}},
            "job: waits for the health of prometheus",
        ),
    ],
)
def test_each_check_of_the_compose_file_can_fail(place: tuple[str, str], value: Any, word: str) -> None:
    broken = yaml.safe_load(COMPOSE.read_text())
    service, key = place
    broken["services"][service][key] = value
    assert word in refused_by_compose(broken)


def test_postgres_is_found_where_debian_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9.6", "15", "14"):
        program = tmp_path / version / "bin" / "initdb"
        program.parent.mkdir(parents=True)
        program.touch()
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    monkeypatch.setattr(postgres.shutil, "which", lambda name: None)
    postgres.programs.cache_clear()
    assert postgres.programs() == tmp_path / "15" / "bin"
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path / "nowhere")
    postgres.programs.cache_clear()
    assert postgres.missing() == postgres.REMEDY
    postgres.programs.cache_clear()
