from __future__ import annotations

from pathlib import Path

import pytest

from components.contracts.atomic import write_json
from components.contracts.errors import ConfigError
from components.contracts.readmitted import (
    Readmitted,
    decisions_json,
    read_decisions,
    read_readmitted,
    write_readmitted,
)

AGAIN = Readmitted(dataset="tiny", clip_id="tiny/a", stage="alignment", code="truncated", how="again", tries=2)
AS_IS = Readmitted(
    dataset="tiny",
    clip_id="tiny/b",
    stage="validation",
    code="word_times",
    how="as_is",
    seen='0.1 to 9.0 s, "so"',
    reason="Ärger; the words, not the clock, are right\nsaid A.",
)
HEADER = "dataset,clip_id,stage,code,how,tries,seen,reason\n"


def test_decisions_survive_the_file_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "readmitted.csv"
    assert read_readmitted(path) == ()
    write_readmitted(path, [AS_IS, AGAIN])
    first = path.read_bytes()
    assert read_readmitted(path) == (AGAIN, AS_IS)
    write_readmitted(path, [AGAIN, AS_IS])
    assert path.read_bytes() == first


def test_a_stage_learns_how_often_it_was_asked_and_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "alignment.json"
    assert read_decisions(path).tries == {}
    write_json(path, decisions_json([AS_IS, AGAIN]))
    decisions = read_decisions(path)
    assert decisions.tries == {"tiny/a": 2}
    assert decisions.covers("tiny/b", "word_times", AS_IS.seen)
    assert not decisions.covers("tiny/b", "word_times", "0.1 to 99.0 s")
    assert not decisions.covers("tiny/b", "segment_times", AS_IS.seen)
    assert not decisions.covers("tiny/a", "truncated", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clip_id,reason\ntiny/a,why not\n", "the columns are not the expected ones"),
        (HEADER + "tiny,,alignment,truncated,again,1,,\n", "line 2: this is not a decision"),
        (HEADER + "tiny,tiny/a,alignment,truncated,agian,1,,\n", "Did you mean 'again'"),
        (HEADER + "tiny,tiny/a,alignment,truncated,again,often,,\n", "tries must be a number; seen 'often'"),
        (HEADER + "tiny,tiny/a,validation,word_times,as_is,1,,\n", "needs a reason; seen 'no reason'"),
    ],
)
def test_a_row_that_is_no_decision_is_refused_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "readmitted.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_readmitted(path)
