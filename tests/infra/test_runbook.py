"""Every alert has a section of the runbook, and what the pages say to type can be typed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer._click.exceptions import UsageError
from typer.main import get_command

from pipelines import cli
from pipelines.kubeflow import kustomize
from tests.pipelines.projects import ROOT
from tests.test_docs import PAGES, anchor

RUNBOOK = ROOT / "docs" / "runbook.md"
RULES: list[dict[str, Any]] = [
    rule
    for groups in (
        yaml.safe_load((ROOT / "infra" / "monitoring" / "alerts.yaml").read_text())["groups"],
        kustomize.find(kustomize.render(ROOT / "infra" / "prometheus"), "PrometheusRule", "mer")["spec"]["groups"],
    )
    for group in groups
    for rule in group["rules"]
]
BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
MER = get_command(cli.app)
ELSEWHERE = {"cluster", "systemd"}
ENDS = {"|", ">", ">>", "&&", "||", ";", "\\"}
# Lines that show a form, not a command.
FORM = re.compile(r"…|\.\.\.|\[")


def commands(page: Path) -> list[str]:
    """The lines of a page's blocks that begin with `mer`, whole."""
    text = "\n".join(content.replace("\\\n", " ") for _, _, content in BLOCK.findall(page.read_text()))
    lines = [line.strip().removeprefix("$ ").removeprefix(".venv/bin/") for line in text.splitlines()]
    return [line for line in lines if line.startswith("mer ") and not FORM.search(line)]


def parse(line: str) -> None:
    """Parses a command as `mer` does, without running it. Raises UsageError."""
    words = shlex.split(line, comments=True)[1:]
    end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
    command: Any = MER
    context, words = None, words[:end]
    while True:
        context = command.make_context(command.name, list(words), parent=context)
        words = [*context._protected_args, *context.args]
        if not words or not hasattr(command, "resolve_command"):
            return
        _, command, words = command.resolve_command(context, words)


def test_alerts_and_sections_are_the_same() -> None:
    sections = re.findall(r"^## (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]
    assert len(set(sections)) == len(sections)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_its_section(rule: dict[str, Any]) -> None:
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{anchor(rule['alert'])}"
    assert rule["annotations"]["summary"]


# What docs/extend.md adds is a command only after its steps, which tests/test_extend.py follows.
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "extend.md"], ids=lambda page: page.name)
def test_every_mer_command_of_a_page_is_one(page: Path) -> None:
    for line in commands(page):
        try:
            parse(line)
        except UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(
    "line",
    ["mer promot 3", "mer promote", "mer keys create app --rates 5/minute", "mer run --set", "mer keys make app"],
)
def test_a_misspelt_command_is_noticed(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line)


def test_the_runbooks_other_commands_run_and_find_what_they_look_for(tmp_path: Path) -> None:
    log = tmp_path / ".mer" / "logs" / "requests.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps({"code": code}) + "\n" for code in ("", "crashed", "busy", "memory")))
    for answer in (tmp_path / "readyz", tmp_path / "v1" / "version"):
        answer.parent.mkdir(exist_ok=True)
        answer.write_text("version 3")
    here = [content for _, title, content in BLOCK.findall(RUNBOOK.read_text()) if title not in ELSEWHERE]
    lines = [line.removeprefix("$ ") for content in here for line in content.splitlines()]
    found = {}
    for line in lines:
        program = line.split()[0]
        assert program in {"mer", "curl", "tail", "grep", "df"}, line
        if program == "mer" or shutil.which(program) is None:
            continue
        variables = {"SERVICE": f"file://{tmp_path}", "PATH": "/usr/bin:/bin"}
        done = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
        )
        found[program] = done.stdout
    assert found["grep"].count("\n") == 2
    assert found["tail"].count("\n") == 4
    assert found.get("curl", "version 3") == "version 3"


def test_what_needs_a_cluster_or_systemd_says_so() -> None:
    for _, title, content in BLOCK.findall(RUNBOOK.read_text()):
        for line in content.splitlines():
            assert (line.split()[1] in {"kubectl", "journalctl"}) == (title in ELSEWHERE), line
