"""The project that the main job runs in: this code's pipeline with settings of its own and a bucket as DVC's remote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from pipelines.stack.place import DVC_BUCKET, Stack

SETTINGS = Path("pipelines") / "stack" / "params.yaml"
VERSIONS = "components/contracts/versions.py"  # which dvc.yaml reads, not imports
COPIED = ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", VERSIONS)
IDENTITY = ("-c", "user.name=mer", "-c", "user.email=mer@localhost")


def make(stack: Stack) -> None:
    """Makes it, in a Git repository. The code that runs is not copied."""
    for name in COPIED:
        target = stack.project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(stack.code / name, target)
    settings = yaml.safe_load((stack.code / SETTINGS).read_text())
    settings["serving"]["port"] = stack.ports["service"]
    (stack.project / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    config = stack.project / ".dvc" / "config"
    remote = f"['remote \"bucket\"']\n    url = s3://{DVC_BUCKET}\n    endpointurl = {stack.url('s3')}\n"
    config.write_text(config.read_text().replace("[core]", "[core]\n    remote = bucket", 1) + remote)
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "A project")):
        subprocess.run(["git", *IDENTITY, *arguments], cwd=stack.project, env=stack.environment(), check=True)
