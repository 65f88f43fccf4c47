"""The first page of the Data Docs: one line a dataset, with a link into Great Expectations' own pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from components.contracts.atomic import atomic_file, read_json
from components.contracts.layout import Layout

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Data Docs</title>
<style>body{{font:16px/1.5 system-ui;max-width:48rem;margin:3rem auto;padding:0 1rem}}
table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #ccc}}
</style><h1>Data Docs</h1><p>What was promised of each dataset, and what holds.</p>
<table><tr><th>dataset</th><th>result</th><th>accepted clips</th><th>set aside</th></tr>
{rows}
</table></html>
"""


def write_landing(layout: Layout) -> None:
    """Lists every dataset that has Data Docs and a result, by name."""
    rows = []
    for page in sorted(layout.data_docs.glob("*/index.html")):
        name = page.parent.name
        result = layout.validated(name) / "result.json"
        if result.is_file():
            said = read_json(result)
            rows.append(_row(name, said["success"], said["statistics"]))
    with atomic_file(layout.data_docs / "index.html") as beside:
        beside.write_text(_PAGE.format(rows="\n".join(rows)), encoding="utf-8")


def _row(name: str, success: bool, statistics: dict[str, object]) -> str:
    cells: Sequence[object] = (
        f'<a href="{escape(name)}/index.html">{escape(name)}</a>',
        "passed" if success else "<strong>stopped</strong>",
        statistics["accepted"],
        statistics["set_aside"],
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
