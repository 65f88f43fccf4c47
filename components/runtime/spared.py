"""Imports that a start spares: most of one is the loading of libraries of which a function or two are used."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from functools import cache
from types import ModuleType

import pyarrow as pa


def pyarrow_without_pandas() -> None:
    """Makes pyarrow go on without pandas, which it otherwise loads to see whether a list is one of its series.

    For a process that has made no table yet and has one thread. What asks pyarrow for pandas (`to_pandas`) still gets
    it; a series is then a list like any other.
    """
    if "pandas" in sys.modules:
        return
    none = _NoPandas()
    sys.meta_path.insert(0, none)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(none)


class _NoPandas(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ImportError("spared")


@cache
def compiled(package: str, name: str) -> ModuleType | None:
    """A compiled module inside a package, without what the package imports; None where it is not as we know it.

    Args:
        package: such as ``scipy.signal``; packages above it are imported.
        name: such as ``_sosfilt``.
    """
    if (loaded := sys.modules.get(f"{package}.{name}")) is not None:
        return loaded
    above, _, last = package.rpartition(".")
    parent = importlib.util.find_spec(above)
    for folder in (parent and parent.submodule_search_locations) or ():
        finder = importlib.machinery.FileFinder(
            f"{folder}/{last}", (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES)
        )
        if (spec := finder.find_spec(name)) is not None:
            module = importlib.util.module_from_spec(spec)
            assert spec.loader is not None
            spec.loader.exec_module(module)
            return module
    return None
