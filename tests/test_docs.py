"""What the documents point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
LINK = re.compile(r"""(?<!!)\[[^\]]*\]\((?!https?:)([^)\s]+)\)|<img src="([^"]+)\"""")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
# A file of the project, whole from its root; one with a star or a placeholder in it is a pattern.
FILE = re.compile(r"`((?:components|pipelines|infra|bench|tests|docs)/[\w./-]+\.\w+)`")
WRITTEN_BY_THE_READER = {"components/datasets/corpora/moodbox.py"}


def anchor(heading: str) -> str:
    """The name that a heading gets in a page: lower case, no punctuation, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for match in LINK.finditer(page.read_text()):
        file, _, part = (match[1] or match[2]).partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), match[0]
        if part:
            assert part in {anchor(heading) for heading in HEADING.findall(target.read_text())}, match[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = set(FILE.findall(page.read_text())) - WRITTEN_BY_THE_READER
    assert [name for name in sorted(named) if not (PROJECT / name).exists()] == []
