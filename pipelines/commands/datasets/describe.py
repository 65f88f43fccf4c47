"""`mer datasets list` and `mer datasets describe NAME`: the adapters' descriptions of their corpora."""

from __future__ import annotations

import textwrap
from typing import Any

from components.datasets.about import ACCESS, Option, layout_of, options_of
from components.datasets.registry import ADAPTERS, adapter
from pipelines.commands.datasets.download import parts_of
from pipelines.commands.table import table

WIDTH = 110


def listing() -> str:
    """Every corpus that can be read, one row each."""
    rows = [
        (name, ", ".join(corpus.about.modalities), corpus.licence, ACCESS[corpus.about.access], corpus.about.title)
        for name, corpus in sorted(ADAPTERS.items())
    ]
    hint = "`mer datasets describe NAME` prints layout, options, labels, splits, and how to obtain it."
    return f"{table(('name', 'modalities', 'licence', 'access', 'corpus'), rows)}\n\n{hint}"


def describe(name: str) -> str:
    """The description of one corpus, in paragraphs. Raises ConfigError: there is no adapter of that name."""
    corpus = adapter(name)
    about = corpus.about
    facts = (
        ("modalities", ", ".join(about.modalities)),
        ("licence", corpus.licence),
        ("consent", about.consent),
        ("access", f"{ACCESS[about.access]}. {about.how}" if about.how else ACCESS[about.access]),
        ("at", about.homepage),
        ("paper", about.paper),
        ("splits", about.splits),
    )
    parts = [
        f"{name}: {about.title or type(corpus).__name__}",
        "\n".join(_fact(key, value) for key, value in facts if value),
        layout_of(corpus),
        _options(name, options_of(corpus.Options)),
    ]
    if about.labels:
        labels = [(label, canonical) for label, canonical in about.labels.items()]
        parts.append(table(("label in the corpus", "emotion"), labels))
    if about.known_bad:
        parts.append(table(("known bad", "why"), about.known_bad.items()))
    parts.append(parts_of(name))
    return "\n\n".join(part for part in parts if part)


def _fact(key: str, value: str) -> str:
    return textwrap.fill(f"{key:<10} {value}", WIDTH, subsequent_indent=" " * 11, break_on_hyphens=False)


def _options(name: str, options: list[Option]) -> str:
    rows: list[tuple[Any, ...]] = [
        (f"{name}.{option.key}", "required" if option.default is None else option.default, option.meaning)
        for option in options
    ]
    return table(("option", "default", "meaning"), rows)
