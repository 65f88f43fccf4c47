"""Data Docs that can be read without a network, and their first pages.

Great Expectations' pages load styles and scripts from several hosts, draw their index by script, and fetch a logo with
the project's id and the time in its address. Here everything remote is taken out, a small style is put in, and the
index is a plain page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from components.contracts.atomic import atomic_file, read_json
from components.contracts.layout import Layout

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1.5rem;color:#1b1f24}
table{border-collapse:collapse;margin:.5rem 0 1rem}
td,th{padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d8dee4;vertical-align:top;text-align:left}
a{color:#0b57d0}.badge{background:#eceff3;border-radius:.3rem;padding:0 .4rem;margin:0 .1rem}
.alert{background:#f3f5f8;padding:.2rem .6rem;border-radius:.3rem}h5,h6{margin:.4rem 0;font-size:1rem}
.fa-check-circle::before{content:"\\2713 holds";color:#17803d}.fa-times::before{content:"\\2717 broken";color:#b91c1c}
.fa-exclamation-triangle::before{content:"! error";color:#b45309}
.text-danger,.broken{color:#b91c1c}.holds{color:#17803d}.fas{font-style:normal}.navbar{height:auto!important}
.card,footer{display:none}.breadcrumb{list-style:none;padding:0}.breadcrumb li{display:inline;margin-right:1rem}
code{background:#f3f5f8}
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""

_REMOTE = (
    re.compile(r"<script\b.*?</script>", re.DOTALL),
    re.compile(r"<link\b[^>]*href=\"https?:[^>]*>"),
    re.compile(r"<img\b[^>]*src=\"https?:[^>]*>"),
    re.compile(r"<footer\b.*?</footer>", re.DOTALL),
    re.compile(r"url\(['\"]?https?:[^)]*\)"),
)


def write_pages(layout: Layout, name: str, result: Mapping[str, Any]) -> None:
    """Makes a dataset's Data Docs local and writes its first page and the one over all datasets."""
    folder = layout.data_docs / name
    for page in sorted(folder.rglob("*.html")):
        _write(page, make_local(page.read_text(encoding="utf-8")))
    _write(folder / "index.html", _dataset_page(folder, name, result))
    _write(layout.data_docs / "index.html", _landing(layout))


def make_local(page: str) -> str:
    """A page without anything that is fetched from elsewhere and without scripts; links for a person stay."""
    for remote in _REMOTE:
        page = remote.sub("", page)
    return page.replace("</head>", f"<style>{_STYLE}</style></head>", 1)


def _dataset_page(folder: Path, name: str, result: Mapping[str, Any]) -> str:
    statistics = result["statistics"]
    suites = []
    broken = []
    for suite, said in result["suites"].items():
        pages = sorted((folder / "validations" / suite).rglob("*.html"))
        link = f'<a href="{pages[-1].relative_to(folder).as_posix()}">{escape(suite)}</a>' if pages else escape(suite)
        failed = said["failed"]
        verdict = f'<span class="broken">{len(failed)} broken</span>' if failed else '<span class="holds">holds</span>'
        suites.append((link, said["rows"], said["evaluated"], verdict))
        broken += [
            (link, escape(one), escape(how["says"]), escape(how["level"]), escape(how["observed"]))
            for one, how in failed.items()
        ]
    body = [
        f'<p><a href="../index.html">all datasets</a></p><p>{_verdict(result)}: {statistics["accepted"]} clips of '
        f"{statistics['subjects']} people accepted, {statistics['set_aside']} set aside.</p>",
        _table(("table", "rows", "expectations", "result"), suites),
    ]
    if broken:
        body += ["<h2>Broken expectations</h2>", _table(("table", "name", "promise", "level", "seen"), broken)]
    if statistics["quarantined"]:
        counts = [(escape(code), count) for code, count in statistics["quarantined"].items()]
        body += ["<h2>Quarantine</h2>", _table(("reason", "rows"), counts)]
    return _PAGE.format(title=f"Data Docs: {escape(name)}", style=_STYLE, body="\n".join(body))


def _landing(layout: Layout) -> str:
    rows = []
    for page in sorted(layout.data_docs.glob("*/index.html")):
        name = page.parent.name
        path = layout.validated(name) / "result.json"
        if path.is_file():
            result = read_json(path)
            statistics = result["statistics"]
            link = f'<a href="{escape(name)}/index.html">{escape(name)}</a>'
            rows.append((link, _verdict(result), statistics["accepted"], statistics["set_aside"]))
    return _PAGE.format(
        title="Data Docs", style=_STYLE, body=_table(("dataset", "result", "accepted clips", "set aside"), rows)
    )


def _verdict(result: Mapping[str, Any]) -> str:
    return '<span class="holds">passed</span>' if result["success"] else '<strong class="broken">stopped</strong>'


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
