"""`infra/ci/kind.sh`, which nothing here can run: its syntax, the files and commands it names, and its own pod."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer._click.exceptions import UsageError

from pipelines.kubeflow import kustomize
from tests.infra.pod_security import violations
from tests.infra.pods import Pod
from tests.infra.test_runbook import parse
from tests.pipelines.projects import ROOT

SCRIPT = ROOT / "infra" / "ci" / "kind.sh"
OWN_FILES = re.compile(r"(?<![\w/.-])(?:infra|pipelines|tests)/[\w./-]+\w")
OVERLAYS = re.compile(r"for overlay in ([\w -]+); do")


def mistakes(script: Path) -> list[str]:
    """What is wrong in a script, as far as one sees without Docker."""
    text = script.read_text()
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    wrong = checked.stderr.splitlines()
    wrong += [f"no {name}" for name in OWN_FILES.findall(text) if "$" not in name and not (ROOT / name).exists()]
    overlays = [name for match in OVERLAYS.findall(text) for name in match.split()]
    wrong += [f"no overlay {name}" for name in overlays if not (ROOT / "infra" / "overlays" / name).is_dir()]
    for line in re.findall(r"^\$MER (.*)$", text, re.MULTILINE):
        try:
            parse(f"mer {line}")
        except UsageError as error:
            wrong.append(f"mer {line}: {error.format_message()}")
    return wrong


def test_the_script_names_what_is_there() -> None:
    assert mistakes(SCRIPT) == []
    assert "NOT RUN" in SCRIPT.read_text()


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("infra/base/namespace.yaml", "infra/base/namespaces.yaml", "no infra/base/namespaces.yaml"),
        ("dev kind prod ", "dev kind production ", "no overlay production"),
        ("kfp run --host", "kfp run --hots", "No such option"),
        ("; do\n", "\n", "syntax error"),
    ],
)
def test_each_check_can_fail(tmp_path: Path, old: str, new: str, word: str) -> None:
    text = SCRIPT.read_text()
    assert text.count(old) == 1
    broken = tmp_path / "kind.sh"
    broken.write_text(text.replace(old, new))
    assert any(word in wrong for wrong in mistakes(broken))


def test_its_overlay_renders_and_its_pod_is_admitted() -> None:
    manifests = kustomize.render(ROOT / "infra" / "overlays" / "kind")
    assert kustomize.find(manifests, "PersistentVolumeClaim", "mer-workspace")["spec"]["accessModes"] == [
        "ReadWriteOnce"
    ]
    pod = yaml.safe_load((SCRIPT.parent / "workspace-pod.yaml").read_text())
    kubernetes_validate.validate(pod, "1.37", strict=True)
    assert violations(Pod(name="workspace", namespace="mer", labels={}, spec=pod["spec"])) == []
