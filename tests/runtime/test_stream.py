from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from components.runtime.stream import STARVED, STARVED_LOGGER, WAITING, blocks_of


class NoBlocks:
    def iter_batches(self, **_: object) -> list[object]:
        return []


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_a_stage_that_waits_for_a_processor_is_not_said_to_hang() -> None:
    assert list(blocks_of(NoBlocks())) == []
    assert list(blocks_of(NoBlocks())) == []
    logger, kept = logging.getLogger(STARVED_LOGGER), Kept()
    logger.addHandler(kept)
    logger.warning(
        f"Cluster resources are not enough to run any task from map. {STARVED} unless the cluster scales up."
    )
    logger.warning("something else")
    logger.removeHandler(kept)
    assert kept.messages == [WAITING, "something else"]


def test_these_are_rays_words_and_its_logger() -> None:
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    module = Path(spec.origin).parents[1] / f"{STARVED_LOGGER.replace('.', '/')}.py"
    assert STARVED in module.read_text()
