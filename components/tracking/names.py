"""Nested values under flat names that MLflow takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Beside letters and digits; what else stands in a name becomes an underscore.
ALLOWED = frozenset("_-./: ")
INTERVAL = {"value", "low", "high"}


def flatten(
    tree: Mapping[str, Any], *, separator: str, is_value: Callable[[Mapping[str, Any]], bool] = lambda _: False
) -> dict[str, Any]:
    """Nested mappings as one, with joined names; an empty mapping is left out.

    Args:
        separator: between the names of a value and of the mapping that holds it.
        is_value: whether a mapping is a value itself.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = legal(key)
        if isinstance(value, Mapping) and not is_value(value):
            below = flatten(value, separator=separator, is_value=is_value)
            flat.update({f"{name}{separator}{inner}": leaf for inner, leaf in below.items()})
        else:
            flat[name] = value
    return flat


def flat_figures(tree: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a tree, names joined by `/`; the value of an interval stands under its own name."""
    flat = flatten(tree, separator="/", is_value=_is_interval)
    numbers = {name: _number(leaf) for name, leaf in flat.items()}
    return {name: number for name, number in numbers.items() if number is not None}


def legal(name: object) -> str:
    """A name as MLflow takes it."""
    return "".join(letter if letter.isalnum() or letter in ALLOWED else "_" for letter in str(name))


def _is_interval(value: Mapping[str, Any]) -> bool:
    return value.keys() == INTERVAL


def _number(leaf: Any) -> float | None:
    if isinstance(leaf, Mapping):
        return None if leaf["value"] is None else float(leaf["value"])
    return float(leaf) if isinstance(leaf, int | float) and not isinstance(leaf, bool) else None
