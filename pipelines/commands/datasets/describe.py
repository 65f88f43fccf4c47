"""`mer datasets list` and `mer datasets describe NAME`: what the adapters say of their corpora."""

from __future__ import annotations

import textwrap
from typing import Any

from components.datasets.about import ACCESS, Option, layout_of, options_of
from components.datasets.registry import ADAPTERS, adapter
from pipelines.commands.datasets.download import parts_of
from pipelines.commands.table import table

WIDTH = 110


def listing() -> str:
    """Every corpus that can be read, a row each."""
    rows = [
        (name, ", ".join(one.about.modalities), one.licence, ACCESS[one.about.access], one.about.title)
        for name, one in sorted(ADAPTERS.items())
    ]
    hint = "`mer datasets describe NAME` says more: layout, options, labels, splits, and how to get it."
    return f"{table(('name', 'brings', 'licence', 'to be had', 'corpus'), rows)}\n\n{hint}"


def describe(name: str) -> str:
    """All of one corpus, in paragraphs. Raises ConfigError: there is no adapter of that name."""
    one = adapter(name)
    about = one.about
    facts = (
        ("brings", ", ".join(about.modalities)),
        ("licence", one.licence),
        ("consent", about.consent),
        ("to be had", f"{ACCESS[about.access]}. {about.how}" if about.how else ACCESS[about.access]),
        ("at", about.homepage),
        ("paper", about.paper),
        ("splits", about.splits),
    )
    parts = [
        f"{name}: {about.title or type(one).__name__}",
        "\n".join(_fact(key, value) for key, value in facts if value),
        layout_of(one),
        _options(name, options_of(one.Options)),
    ]
    if about.labels:
        labels = [(said, canonical) for said, canonical in about.labels.items()]
        parts.append(table(("label in the corpus", "emotion"), labels))
    if about.known_bad:
        parts.append(table(("known bad", "why"), about.known_bad.items()))
    parts.append(parts_of(name))
    return "\n\n".join(part for part in parts if part)


def _fact(key: str, value: str) -> str:
    return textwrap.fill(f"{key:<10} {value}", WIDTH, subsequent_indent=" " * 11, break_on_hyphens=False)


def _options(name: str, options: list[Option]) -> str:
    rows: list[tuple[Any, ...]] = [
        (f"{name}.{option.key}", "needed" if option.default is None else option.default, option.meaning)
        for option in options
    ]
    return table(("option", "default", "meaning"), rows)
