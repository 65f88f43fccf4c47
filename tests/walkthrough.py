"""Follows a section of the documents to the letter, in a copy of the project: its titled code blocks are what to write
and what to run.

A block of the language `diff` changes the file that its title names: its ` ` and `-` lines stand there once, and its
` ` and `+` lines take their place. Any other block whose title is a path is that file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r'^```(\w+) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SECTION = re.compile(r"^## ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A titled code block."""

    language: str
    title: str
    content: str

    @property
    def path(self) -> str | None:
        """The file that it is or changes, relative to the project; None for commands."""
        return self.title if "." in self.title else None


def blocks(page: str, section: str) -> list[Block]:
    """The titled blocks of a section (`## …`) of a page of docs/, in order."""
    after = (ROOT / "docs" / page).read_text().split(f"\n## {section}\n", maxsplit=1)[1]
    return [Block(*found) for found in BLOCK.findall(SECTION.split(after, maxsplit=1)[0])]


def copy_project(to: Path, names: Iterable[str]) -> None:
    """Copies files and folders of the project; times stay, so that mypy's cache and compiled code count there, too."""
    for name in names:
        source, target = ROOT / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))  # half written by other processes
        else:
            shutil.copy2(source, target)


def write(block: Block, project: Path) -> None:
    """Does what a block with a path says."""
    assert block.path is not None
    path = project / block.path
    if block.language != "diff":
        assert not path.exists(), f"{block.path} is there already"
        path.write_text(block.content)
        return
    lines = [(line[:1] or " ", line[1:]) for line in block.content.splitlines()]
    before = "".join(f"{line}\n" for sign, line in lines if sign in " -")
    after = "".join(f"{line}\n" for sign, line in lines if sign in " +")
    text = path.read_text()
    assert text.count(before) == 1, f"{block.path} holds these lines {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after))


def run(command: str, project: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in the copy, with the copy's code."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def passes(command: str, project: Path) -> str:
    """What a command prints that must succeed."""
    done = run(command, project)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout
