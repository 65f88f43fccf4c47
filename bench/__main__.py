"""The command: `python -m bench`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  python -m bench                              all of them, some minutes; on an otherwise idle machine
  python -m bench --list                       their names and questions
  python -m bench --only training-step         one of them
  python -m bench --quick                      tiny sizes: does everything run?
  python -m bench --json bench.json            the same figures for a program
  python -m bench --only promotions-under-load --folder kept    in parts: the same command goes on where it stopped
"""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
WRONG_USE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs benchmarks and prints a Markdown table; the exit code is 0 whether goals are met or not."""
    options = _parser().parse_args(arguments)
    pin_threads(options.threads)
    from bench.registry import BENCHMARKS
    from bench.report import Outcome, table, to_json

    if options.list:
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:20} {benchmark.question}")
        return 0
    unknown = [name for name in options.only or () if name not in BENCHMARKS]
    if unknown:
        print(f"unknown benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return WRONG_USE

    from bench.machine import Machine

    machine = Machine.here()
    outcomes: dict[str, list[Outcome]] = {}
    for name in options.only or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        print(f"\n{name}: {benchmark.question}", file=sys.stderr)
        with _folder(options.folder) as folder:
            sizes = benchmark.quick if options.quick else benchmark.full
            outcomes[name] = list(benchmark.run(sizes, folder))
    print(f"\n{table([outcome for rows in outcomes.values() for outcome in rows])}\n\n{machine.lines()}")
    if options.quick:
        print("Quick run: tiny sizes, no figures to keep.")
    if options.json:
        described: dict[str, Any] = {
            "machine": asdict(machine),
            "load_after": os.getloadavg(),
            "quick": options.quick,
            "benchmarks": {name: to_json(rows) for name, rows in outcomes.items()},
        }
        options.json.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return 0


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """The folder to work in: one that is kept, or one that is empty and removed again."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mer-bench-") as folder:
        yield Path(folder)


def pin_threads(threads: int) -> None:
    """Holds numpy, OpenCV and torch to a number of threads; they read the variables when they are imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    import cv2
    import torch

    cv2.setNumThreads(threads)
    torch.set_num_threads(threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=(
            "Measures speed: ours beside a baseline, in turn and in one process, so that the ratio holds on a machine "
            "whose speed drifts. Prints medians over pairs with their quartiles as a Markdown table."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    parser.add_argument("--only", action="append", metavar="NAME", help="this one alone (repeatable)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, seconds instead of minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="work there instead of in a temporary folder; a benchmark in parts goes on with what it finds",
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads a side may use (default 1)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
