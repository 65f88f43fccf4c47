from __future__ import annotations

import logging

import pytest

from pipelines.quiet import LEVELS, quiet_libraries


@pytest.fixture(autouse=True)
def levels_as_before() -> object:
    before = {name: logging.getLogger(name).level for name in LEVELS}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("name", LEVELS)
def test_chatter_is_held_back_and_errors_are_not(name: str) -> None:
    quiet_libraries()
    logger = logging.getLogger(name)
    assert not logger.isEnabledFor(logging.INFO)
    assert logger.isEnabledFor(logging.ERROR)


def test_warnings_come_through_but_for_one_kind() -> None:
    quiet_libraries()
    held = [name for name in LEVELS if not logging.getLogger(name).isEnabledFor(logging.WARNING)]
    assert held == ["ray.data._internal.progress"]
