from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from components.runtime.pages.templates import render


def test_a_page_escapes_and_a_program_does_not(tmp_path: Path) -> None:
    for name, expected in (("a.html.j2", "&lt;b&gt; 3\n"), ("a.py.j2", "<b> 3\n")):
        (tmp_path / name).write_text("{{ title }} {{ double(1.5) }}\n", encoding="utf-8")
        assert render(tmp_path / name, title="<b>", double=lambda x: round(2 * x)) == expected


def test_a_macro_reaches_what_is_given(tmp_path: Path) -> None:
    (tmp_path / "a.html.j2").write_text("{% macro twice(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ twice(2) }}")
    assert render(tmp_path / "a.html.j2", f=lambda x: x + 1) == "33"


def test_a_value_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.html.j2").write_text("{{ nothing }}")
    with pytest.raises(UndefinedError, match="nothing"):
        render(tmp_path / "a.html.j2")
