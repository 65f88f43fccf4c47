"""`dvc.lock` in parts: one stage's entry, and many of them put together. Pure functions of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

SCHEMA = "2.0"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where PyYAML was built with libyaml, ten times faster


def stages_of(text: str) -> dict[str, Any]:
    """Address → entry."""
    return dict((yaml.load(text, Loader=LOADER) or {}).get("stages") or {})


def part_of(text: str, address: str) -> str:
    """The lock with one stage alone."""
    return _dumped({address: stages_of(text)[address]})


def merged(base: str, parts: Iterable[str], order: Iterable[str]) -> str:
    """A lock with the entries of the parts in place of its own.

    Args:
        base: the lock of the commit; may be empty.
        parts: locks with the stages that ran. No two have the same stage.
        order: addresses in running order; entries of the base keep their places, new ones follow in this order.
    """
    stages = stages_of(base)
    fresh: dict[str, Any] = {}
    for part in parts:
        fresh |= stages_of(part)
    new = [address for address in order if address in fresh and address not in stages]
    entries = {address: fresh.get(address, entry) for address, entry in stages.items()}
    return _dumped({**entries, **{address: fresh[address] for address in new}})


def _dumped(stages: Mapping[str, Any]) -> str:
    """As DVC writes it, so that a later run changes no line that says the same."""
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml({"schema": SCHEMA, "stages": dict(stages)}))
