"""Writes the Data Docs as a folder of pages that can be read without a network.

Great Expectations' pages load styles and scripts from several hosts, draw their index by script, and fetch a logo with
the project's id and the time in its address. This module removes everything remote, adds a small style, and writes the
index as a plain page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from components.contracts.atomic import atomic_file, read_json
from components.contracts.layout import Layout
from components.validation.pages import STYLE, catalog_sections, dataset_sections, page, table, verdict

# The folder of the splits, beside those of the datasets.
CATALOG = "_catalog"
_REMOTE = (
    re.compile(r"<script\b.*?</script>", re.DOTALL),
    re.compile(r"<link\b[^>]*href=\"https?:[^>]*>"),
    re.compile(r"<img\b[^>]*src=\"https?:[^>]*>"),
    re.compile(r"<footer\b.*?</footer>", re.DOTALL),
    re.compile(r"url\(['\"]?https?:[^)]*\)"),
)


def write_pages(layout: Layout, name: str, result: Mapping[str, Any]) -> None:
    """Makes a dataset's Data Docs local and writes its first page and the index of all datasets."""
    sections = dataset_sections(result, _local(layout, name, result["suites"]))
    _write_first(layout, name, f"Data Docs: {name}", sections, result["fingerprint"])


def write_catalog_pages(layout: Layout, description: Mapping[str, Any]) -> None:
    """The same for the splits."""
    sections = catalog_sections(description, _local(layout, CATALOG, description["suites"]))
    _write_first(layout, CATALOG, "Data Docs: splits", sections, description["sha256"])


def single_page(description: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> str:
    """Everything in one page without links, to be read on its own: the splits, then each dataset."""
    body = ["<h2>Splits</h2>", *catalog_sections(description)]
    for name, result in sorted(results.items()):
        body += [f"<h2>{escape(name)}</h2>", *dataset_sections(result)]
    return page("Data Docs", body, mark=description["sha256"])


def shows(layout: Layout, name: str, mark: str) -> Path | None:
    """The folder of the pages of a dataset, or of `CATALOG`, if they show exactly this result. They are not an output
    of the DAG and may stem from an earlier state or a different machine."""
    first = layout.data_docs / name / "index.html"
    current = first.is_file() and f'content="{mark}"' in first.read_text(encoding="utf-8")
    return first.parent if current else None


def make_local(text: str) -> str:
    """A page without remote content and without scripts; ordinary links stay."""
    for remote in _REMOTE:
        text = remote.sub("", text)
    return text.replace("</head>", f"<style>{STYLE}</style></head>", 1)


def _local(layout: Layout, name: str, suites: Iterable[str]) -> dict[str, str]:
    """Makes the pages of a folder local; suite → its page, relative to the folder."""
    folder = layout.data_docs / name
    for path in sorted(folder.rglob("*.html")):
        _write(path, make_local(path.read_text(encoding="utf-8")))
    pages = {suite: sorted((folder / "validations" / suite).rglob("*.html")) for suite in suites}
    return {suite: paths[-1].relative_to(folder).as_posix() for suite, paths in pages.items() if paths}


def _write_first(layout: Layout, name: str, title: str, sections: Iterable[str], mark: str) -> None:
    up = '<p><a href="../index.html">all datasets</a></p>'
    _write(layout.data_docs / name / "index.html", page(title, [up, *sections], mark=mark))
    _write(layout.data_docs / "index.html", _landing(layout))


def _landing(layout: Layout) -> str:
    rows = []
    for first in sorted(layout.data_docs.glob("*/index.html")):
        name = first.parent.name
        path = layout.validated(name) / "result.json"
        if path.is_file():
            result = read_json(path)
            statistics = result["statistics"]
            link = f'<a href="{escape(name)}/index.html">{escape(name)}</a>'
            rows.append((link, verdict(result), statistics["accepted"], statistics["set_aside"]))
    body = [table(("dataset", "result", "accepted clips", "set aside"), rows)]
    if (layout.data_docs / CATALOG / "index.html").is_file():
        body.append(f'<p><a href="{CATALOG}/index.html">The splits</a>, over all datasets in use.</p>')
    return page("Data Docs", body)


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8")
