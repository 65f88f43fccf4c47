"""One thread for torch: sums of floats depend on their number, and no result may depend on the machine's size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

THREADS = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)
