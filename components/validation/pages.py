"""Data Docs as HTML: the expectations of each table, which of them hold, what was set aside, and what moved.

A page is a function of a result alone, is self-contained and fetches nothing, so it can be stored with the run that
trained on the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
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
<html lang="en"><head><meta charset="utf-8"><meta name="result" content="{mark}"><title>{title}</title>
<style>{style}</style></head>
<body><h1>{title}</h1>
{body}
</body></html>
"""

Links = Mapping[str, str]


def page(title: str, body: Iterable[str], *, mark: str = "") -> str:
    """A complete page; `mark` identifies the result that it shows."""
    return _PAGE.format(title=escape(title), style=STYLE, body="\n".join(body), mark=escape(mark))


def dataset_sections(result: Mapping[str, Any], links: Links | None = None) -> list[str]:
    """A dataset's `result.json` in sections; `links` are the pages of its suites."""
    statistics = result["statistics"]
    figures = f"{statistics['accepted']} clips of {statistics['subjects']} people accepted"
    sections = [
        f"<p>{verdict(result)}: {figures}, {statistics['set_aside']} set aside.</p>",
        *suite_sections(result["suites"], links or {}),
    ]
    if statistics["quarantined"]:
        counts = [(escape(code), count) for code, count in statistics["quarantined"].items()]
        sections += ["<h3>Quarantine</h3>", table(("reason", "rows"), counts)]
    if result["readmitted"]:
        rows = [
            tuple(escape(str(decision[name])) for name in ("clip_id", "code", "seen", "reason"))
            for decision in result["readmitted"]
        ]
        sections += ["<h3>Taken as they are</h3>", table(("clip", "what is broken", "seen", "why it is used"), rows)]
    return [*sections, *_drift(result["drift"])]


def catalog_sections(description: Mapping[str, Any], links: Links | None = None) -> list[str]:
    """`catalog.json` in sections."""
    splits = description["splits"]
    order = sorted(splits, key=lambda name: -splits[name]["clips"])
    rows = [(escape(name), splits[name]["clips"], splits[name]["subjects"]) for name in order]
    shared = description["shared_texts"]
    texts = (
        f"{len(shared)} of {description['texts']} texts are spoken in more than one split: a model may recognise them."
        if shared
        else f"{description['texts']} texts, none of them in more than one split."
    )
    return [
        table(("split", "clips", "people"), rows),
        f"<p>{texts if description['texts'] else 'No clip is scripted.'}</p>",
        *(
            [f"<p>{len(description['left_out'])} accepted clips are in no split.</p>"]
            if description["left_out"]
            else []
        ),
        *suite_sections(description["suites"], links or {}),
    ]


def suite_sections(suites: Mapping[str, Any], links: Links) -> list[str]:
    """One line per suite, and the broken expectations."""
    lines, broken = [], []
    for suite, outcome in suites.items():
        name = f'<a href="{escape(links[suite])}">{escape(suite)}</a>' if suite in links else escape(suite)
        failed = outcome["failed"]
        lines.append(
            (name, outcome["rows"], outcome["evaluated"], _how([failure["level"] for failure in failed.values()]))
        )
        broken += [
            (name, escape(expectation), *(escape(failure[field]) for field in ("says", "level", "observed")))
            for expectation, failure in failed.items()
        ]
    sections = [table(("table", "rows", "expectations", "result"), lines)]
    if broken:
        head = ("table", "name", "promise", "level", "seen")
        sections += ["<h3>Broken expectations</h3>", table(head, broken)]
    return sections


def _how(levels: Sequence[str]) -> str:
    warnings = levels.count("warning")
    counts = [(len(levels) - warnings, "broken"), (warnings, "warnings")]
    words = ", ".join(f"{count} {word}" for count, word in counts if count)
    if not levels:
        return '<span class="holds">holds</span>'
    return words if len(levels) == warnings else f'<span class="broken">{words}</span>'


def _drift(drift: Mapping[str, Any]) -> list[str]:
    before = drift["compared_with"]
    sections = ["<h3>Compared with the accepted version</h3>"]
    if before is not None:
        sections.append(f"<p>It had {before['clips']} clips of {before['people']} people.</p>")
    rows = [
        (
            escape(measure["what"]),
            f"{measure['value']:.3f}",
            f"{measure['limit']:.3f}{' (chance)' if measure['by_chance'] else ''}",
            '<span class="broken">moved</span>' if measure["moved"] else '<span class="holds">holds</span>',
            escape(measure["seen"]),
        )
        for measure in drift["measures"].values()
    ]
    if rows:
        sections.append(table(("measure", "distance", "limit", "result", "before → now"), rows))
    return [*sections, *(f"<p>{escape(note)}</p>" for note in drift["notes"])]


def verdict(result: Mapping[str, Any]) -> str:
    """Whether a dataset passed."""
    return '<span class="holds">passed</span>' if result["success"] else '<strong class="broken">stopped</strong>'


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """An HTML table; cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"
