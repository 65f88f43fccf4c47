from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from components.serving.http.whole_page import PAGE
from tests.serving.answers.test_schemas import answer_fields, later

SCRIPTS = [str(PAGE / name) for name in ("faces.js", "page.js")]
SCRIPT = Path(__file__).parent / "page.js"


def shown(answer: object) -> list[str]:
    """The texts that the page shows for an answer."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    done = subprocess.run(
        [node, str(SCRIPT), *SCRIPTS], input=json.dumps(answer), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_shows_an_answer() -> None:
    words = shown(answer_fields())
    assert words[0] == "anger"
    assert "This clip is unlike the training data." in words
    assert "It rests most on the voice." in words
    assert any(word.startswith("Answered by mer version 3") for word in words)


def test_the_page_shows_the_same_of_an_answer_with_fields_that_a_later_version_adds() -> None:
    assert shown(later(answer_fields())) == shown(answer_fields())
