from __future__ import annotations

import subprocess
import sys

import pytest

# Blocks that are too small to be mapped alone, freed but for every hundredth, which keeps the heap from shrinking.
PROGRAM = """
import psutil
from components.runtime.memory import give_back
size = 4000
blocks = [b"x" * size for _ in range(50_000)]
full = psutil.Process().memory_info().rss
blocks = blocks[::100] + blocks[-1:]
freed = psutil.Process().memory_info().rss
give_back()
print(full >> 20, freed >> 20, psutil.Process().memory_info().rss >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    full, freed, after = map(int, done.stdout.split())
    assert freed > full - 40
    assert after < full - 120
