"""One enumeration of codes: spelt one way, documented once, used, and never written as a loose text."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from components.contracts.codes import FORMER, Code, current
from components.contracts.errors import MediaError
from components.contracts.readmitted import Readmitted, decisions_json, read_decisions, write_readmitted
from components.contracts.records import Quarantined, quarantine_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "codes.md"
SOURCES = sorted(path for room in ("components", "pipelines") for path in (ROOT / room).rglob("*.py"))
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def test_every_code_is_documented_once_with_meaning_and_remedy() -> None:
    documented = [code for code, _, _ in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert sorted(documented) == sorted(Code)


def test_codes_are_spelt_one_way() -> None:
    for code in Code:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code), code
        assert code.name == code.value.upper().replace("-", "_")


def test_every_code_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "codes.py")
    assert [code.name for code in Code if not re.search(rf"\bCode\.{code.name}\b", text)] == []


def test_nobody_writes_a_code_as_a_loose_text() -> None:
    """Of one word only behind `code=`, where it can be nothing else; of several words nowhere."""
    loose = [
        f"{path.relative_to(ROOT)}:{constant.lineno}"
        for path in SOURCES
        if path.name != "codes.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for constant in _texts(node)
        if constant.value in set(Code)
    ]
    assert loose == []


def _texts(node: ast.AST) -> list[ast.Constant]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "-" in node.value:
        return [node]
    if isinstance(node, ast.keyword) and node.arg == "code":
        return [part for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
    return []


def test_tables_and_json_hold_plain_texts() -> None:
    error = MediaError("a step is not a number", where="tiny/a", code=Code.NOT_FINITE)
    row = Quarantined.from_error(error, dataset="tiny", clip_id="tiny/a", stage="features")
    table = quarantine_table([row])
    assert table.schema.field("code").type == pa.string()
    assert type(table.column("code").to_pylist()[0]) is str
    assert json.loads(json.dumps(asdict(row)))["code"] == "not-finite"
    assert Quarantined.from_row(table.to_pylist()[0]) == row


def test_a_spelling_of_before_is_understood_where_it_is_stored() -> None:
    """A quarantine table, a remembered refusal."""
    assert not set(FORMER) & set(Code)
    row = {"dataset": "tiny", "clip_id": "tiny/a", "stage": "features", "code": "non_finite", "message": "m"}
    assert Quarantined.from_row(row).code == Code.NOT_FINITE
    assert current("offset_s_in_range") == "offset_s_in_range"  # an expectation's name


def test_a_decision_of_before_covers_the_code_of_today(tmp_path: Path) -> None:
    """And its row in `readmitted.csv` and in the stage's inputs keeps its bytes, so no stage runs for the spelling."""
    decision = Readmitted(
        dataset="tiny",
        clip_id="tiny/a",
        stage="features",
        code="non_finite",
        how="as_is",
        seen="1 step",
        reason="silence",
    )
    write_readmitted(tmp_path / "readmitted.csv", [decision])
    assert "non_finite" in (tmp_path / "readmitted.csv").read_text()
    (tmp_path / "features.json").write_text(json.dumps(decisions_json([decision])))
    assert read_decisions(tmp_path / "features.json").covers("tiny/a", Code.NOT_FINITE, "1 step")
