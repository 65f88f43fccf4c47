"""Progress of long work: a bar on a terminal; in a log, one line per tenth."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_SHARE = 0.1


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields `advance(n)`. Writes to standard error, so that standard output stays for results."""
    # What judges one clip has no progress to show, and spares these imports.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    terminal = Console(file=sys.stderr).is_terminal
    if terminal:
        # Decided once: while lines are filtered (`dropped.py`), standard error is not a terminal.
        console = Console(file=sys.stderr, force_terminal=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total)
            yield lambda n: bar.update(task, advance=n)
        return
    done = 0
    shown = 0.0

    def advance(n: int) -> None:
        nonlocal done, shown
        done += n
        share = done / total if total else 1.0
        if share >= shown + LOG_SHARE or done == total:
            shown = share
            print(f"{what}: {done}/{total}", file=sys.stderr, flush=True)

    yield advance
