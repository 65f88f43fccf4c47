"""`mer config [NAME]`: settings as tables, as one block, or as JSON."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from components.contracts.config import Params
from components.contracts.errors import ConfigError
from components.datasets.about import plain
from components.datasets.registry import ADAPTERS, kind_of
from pipelines.commands.config.settings import FILE, Setting, select
from pipelines.commands.table import table
from pipelines.project import find_root, load

HINT = "`mer config train` shows a section, `mer config train.epochs` a key, `mer config ravdess` a dataset's options."
TITLE_COLUMNS = 110


def command(name: str | None = None, *, as_json: bool = False) -> str:
    """The output of `mer config`: all sections, one section or dataset, or one key.

    Outside a project every value is the default.

    Raises:
        ConfigError: params.yaml is wrong, or there is no such section or key.
    """
    root = _root()
    params = Params() if root is None else load(root)
    chosen = select(name, params)
    if as_json:
        return json.dumps([asdict(setting) for setting in chosen], indent=2, ensure_ascii=False)
    if len(chosen) == 1 and chosen[0].key == name:
        return _one(chosen[0])
    where = f"Values of {root / FILE}." if root else "Not in a project: every value is the default."
    return "\n\n".join([*_tables(chosen, params), *([] if name else [f"{where}\n{HINT}"])])


def _root() -> Path | None:
    try:
        return find_root()
    except ConfigError:
        return None


def _tables(settings: Sequence[Setting], params: Params) -> Iterator[str]:
    """One table per section, with the keys relative to it."""
    sections: dict[str, list[Setting]] = {}
    for setting in settings:
        sections.setdefault(setting.key.partition(".")[0] if "." in setting.key else "", []).append(setting)
    for section, members in sections.items():
        rows = [
            (
                member.key.removeprefix(f"{section}."),
                member.shown,
                member.origin,
                f"{member.meaning}\n{_bounds(member)}",
            )
            for member in members
        ]
        yield f"{_title(section, params)}\n\n{table(('key', 'value', 'from', 'meaning'), rows)}"


def _title(section: str, params: Params) -> str:
    if not section:
        return "At the top of params.yaml"
    kind = kind_of(section, params.sources.get(section, {}))
    if kind in ADAPTERS:
        about = f"options of {ADAPTERS[kind].about.title or 'a dataset'}"
    else:
        about = inspect.cleandoc(type(getattr(Params(), section)).__doc__ or "").split("\n\n", maxsplit=1)[0]
    return textwrap.fill(f"{section}: {about}", TITLE_COLUMNS)


def _bounds(setting: Setting) -> str:
    default = "required" if setting.needed else f"default {plain(setting.default)}"
    return f"({default}; {setting.allowed})"


def _one(setting: Setting) -> str:
    rows = (
        ("value", setting.shown),
        ("from", setting.origin),
        ("default", "none: a value is required" if setting.needed else plain(setting.default)),
        ("allowed", setting.allowed),
        ("meaning", setting.meaning),
    )
    return table((setting.key, ""), rows)
