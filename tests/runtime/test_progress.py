from __future__ import annotations

import pytest

from components.runtime.progress import progress


def test_a_log_gets_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("aligning", 40) as advance:
        for _ in range(40):
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "aligning: 4/40"
    assert lines[-1] == "aligning: 40/40"
    assert len(lines) == 10
