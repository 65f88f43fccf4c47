"""One thread for torch: sums of floats depend on their number, and no result may depend on the machine's size."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

THREADS = 1
VARIABLE = "OMP_NUM_THREADS"


def limit_threads() -> None:
    """Limits torch to one thread in this process, also where it is imported later, which takes seconds."""
    os.environ[VARIABLE] = str(THREADS)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(THREADS)


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one thread, also where it is imported inside; that import then keeps to it."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    variable = os.environ.get(VARIABLE)
    limit_threads()
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if variable is not None:
            os.environ[VARIABLE] = variable
        if torch:
            torch.set_num_threads(before)
