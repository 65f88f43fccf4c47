"""Text tables for the output of commands, on a terminal, in a log or in a pipe."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 160
MIN_COLUMNS = 60


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", right: Sequence[int] = ()
) -> str:
    """Rows as text, wrapped to the terminal's width; the columns numbered in `right` are numbers.

    The first column and numbers are never wrapped: the last columns shrink first.
    """
    # From COLUMNS, or the terminal; a pipe gets a width that fits most rows.
    width = max(MIN_COLUMNS, shutil.get_terminal_size((PIPE_COLUMNS, 0)).columns)
    shown = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="", pad_edge=False)
    for index, name in enumerate(header):
        first = index == 0 or index in right
        shown.add_column(name, justify="right" if index in right else "left", no_wrap=first, overflow="fold")
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, markup=False, color_system=None).print(shown)
    lines = stream.getvalue().strip("\n").splitlines()
    return textwrap.dedent("\n".join(line.rstrip() for line in lines)).strip("\n")
