"""What every benchmark is: a question, two sets of sizes, and a function that answers it.

A new one is a module with a `BENCHMARK` and one line in `bench/registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from bench.report import Outcome

Sizes = TypeVar("Sizes")


@dataclass(frozen=True, kw_only=True)
class Benchmark(Generic[Sizes]):
    """One benchmark.

    Attributes:
        question: one line for `--help`.
        run: sizes and a folder to work in, empty but for its own earlier parts → outcomes, each as soon as it is
            known. It compares sides within one process, and never figures of different runs.
        full: sizes of figures that are kept; a minute or a few.
        quick: sizes that show that it works, in seconds.
    """

    question: str
    run: Callable[[Sizes, Path], Iterator[Outcome]]
    full: Sizes
    quick: Sizes
