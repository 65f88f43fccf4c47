from __future__ import annotations

import subprocess
import sys

from components.runtime.spared import compiled


def said(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_pyarrow_makes_arrays_and_tables_without_pandas_and_still_gives_frames() -> None:
    program = """
import sys
from components.runtime.spared import pyarrow_without_pandas
pyarrow_without_pandas()
import pyarrow as pa
schema = pa.schema([("a", pa.int64()), ("b", pa.list_(pa.float32()))])
table = pa.Table.from_pylist([{"a": 1, "b": [0.5, None]}], schema)
before = "pandas" in sys.modules
print(before, table.to_pylist(), table.to_pandas().shape, "pandas" in sys.modules)
"""
    assert said(program) == "False [{'a': 1, 'b': [0.5, None]}] (1, 2) True"


def test_a_compiled_module_comes_without_its_package() -> None:
    program = """
import sys
from components.runtime.spared import compiled
print(callable(compiled("scipy.signal", "_sosfilt")._sosfilt), "scipy.signal" in sys.modules)
"""
    assert said(program) == "True False"
    assert compiled("scipy.signal", "_nothing") is None
    assert compiled("scipy.nothing", "_sosfilt") is None
