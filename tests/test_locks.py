"""The locks: what runs in production, and what tests, lint and types, or a cluster's images, add to it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parents[1]
PRODUCTION, DEV = PROJECT / "requirements.lock", PROJECT / "requirements-dev.lock"
CLUSTER = PROJECT / "requirements-cluster.lock"
TRACKING = PROJECT / "requirements-tracking.lock"
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
# Asked for by the tests, and needed by production packages (MLflow, KFP, Ray) as well.
IN_BOTH = {"flask", "flask-cors", "jsonschema"}
# The Makefile installs it first, so that its index decides which build it is.
NOT_LOCKED = {"torch"}
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s\\]+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Package → its version and the hashes of its files."""
    text = lock.read_text()
    matches = list(PIN.finditer(text))
    ends = [*(match.start() for match in matches[1:]), len(text)]
    return {
        canonicalize_name(match[1]): (match[2], frozenset(HASH.findall(text, match.end(), end)))
        for match, end in zip(matches, ends, strict=True)
    }


def declared(requirements: list[str]) -> dict[str, Requirement]:
    parsed = [Requirement(text) for text in requirements]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


RUNTIME = declared(DECLARED["dependencies"])
TOOLS = declared(DECLARED["optional-dependencies"]["dev"])
STORES = declared(DECLARED["optional-dependencies"]["cluster"])


def test_production_holds_none_of_the_tools() -> None:
    assert {"pytest", "mypy", "moto", "ruff", "hypothesis", "soundfile", "neurokit2"} <= set(TOOLS)
    assert set(TOOLS) & set(pins(PRODUCTION)) == IN_BOTH
    assert set(TOOLS) & set(pins(CLUSTER)) == IN_BOTH | set(STORES) & set(TOOLS)


@pytest.mark.parametrize("lock", [DEV, CLUSTER], ids=lambda lock: lock.name)
def test_the_locks_agree_on_every_pin_and_hash(lock: Path) -> None:
    production, other = pins(PRODUCTION), pins(lock)
    assert {name: other.get(name) for name in production} == production


@pytest.mark.parametrize("lock", [PRODUCTION, DEV, CLUSTER, TRACKING], ids=lambda lock: lock.name)
def test_every_pin_has_a_hash(lock: Path) -> None:
    assert [name for name, (_, hashes) in pins(lock).items() if not hashes] == []


@pytest.mark.parametrize(
    ("requirements", "lock"),
    [(RUNTIME, PRODUCTION), (TOOLS, DEV), (STORES, CLUSTER)],
    ids=["runtime", "tools", "stores"],
)
def test_what_is_declared_is_pinned_within_its_bounds(requirements: dict[str, Requirement], lock: Path) -> None:
    pinned = pins(lock)
    for name in set(requirements) - NOT_LOCKED:
        assert pinned[name][0] in requirements[name].specifier, name


def test_make_stack_has_what_the_images_of_a_cluster_have() -> None:
    assert set(STORES) <= set(pins(DEV))


def test_torch_is_the_version_that_the_makefile_installs() -> None:
    assert f"TORCH := {RUNTIME['torch']}\n" in (PROJECT / "Makefile").read_text()


def imported(folder: str) -> set[str]:
    """Top-level names of everything that the modules of a folder import, wherever in a module."""
    names: set[str] = set()
    for path in (PROJECT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("folder", ["components", "pipelines"])
def test_what_runs_in_production_imports_only_what_is_pinned_there(folder: str) -> None:
    distributions = packages_distributions()
    available = set(pins(PRODUCTION)) | NOT_LOCKED
    foreign = imported(folder) - set(sys.stdlib_module_names) - {"components", "pipelines"}
    missing = {name for name in foreign if not available & {*map(canonicalize_name, distributions.get(name, ()))}}
    assert missing == set()


def recipe(target: str) -> str:
    """What `make` would run for a target if nothing were made yet."""
    command = ["make", "--dry-run", "--always-make", target]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", ["env", "run", "serve"])
def test_running_needs_only_the_production_lock(target: str) -> None:
    assert "--require-hashes --compile-bytecode -r requirements.lock" in recipe(target)
    assert DEV.name not in recipe(target)


@pytest.mark.parametrize("target", ["test", "lint", "types", "layers", "unit", "bench"])
def test_the_tools_come_on_top(target: str) -> None:
    made = recipe(target)
    assert made.index("-r requirements.lock") < made.index(f"-r {DEV.name}")


def test_mlflows_image_has_a_part_of_the_same_pins_and_nothing_of_training() -> None:
    tracking, cluster = pins(TRACKING), pins(CLUSTER)
    assert {name: cluster.get(name) for name in tracking} == tracking
    assert {"mlflow", "flask-wtf", "psycopg", "boto3"} <= set(tracking)
    assert not {"torch", "ray", "transformers", "kfp", "dvc"} & set(tracking)


# Hides every installed package that is not among the pins.
ALONE = """
import sys
from importlib.metadata import packages_distributions
from packaging.utils import canonicalize_name
pinned = {"mer", *sys.argv[1].split(",")}
owners = {top: {*map(canonicalize_name, names)} for top, names in packages_distributions().items()}
class Pinned:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in owners and not owners[top] & pinned:
            raise ModuleNotFoundError(top, name=top)
sys.meta_path.insert(0, Pinned())
try:
    import torch
except ModuleNotFoundError:
    import mlflow.server.auth
    from components.tracking import login
    print(login.authenticate.__module__)
"""


@pytest.mark.integration
def test_mlflow_and_its_login_need_no_more_than_is_in_their_image() -> None:
    command = [sys.executable, "-c", ALONE, ",".join(pins(TRACKING))]
    variables = {**os.environ, "MLFLOW_FLASK_SERVER_SECRET_KEY": "test"}
    done = subprocess.run(command, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
    assert done.stdout == "components.tracking.login\n", done.stderr


def test_the_image_holds_no_tools() -> None:
    images = PROJECT / "infra" / "images"
    for name in ("Dockerfile", "Dockerfile.dockerignore"):
        text = (images / name).read_text()
        assert "requirements.lock" in text
        assert CLUSTER.name in text
        assert DEV.name not in text
