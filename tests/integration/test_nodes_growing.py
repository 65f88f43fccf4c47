"""Training on a cluster that loses a node and gets it back; see `growing.py`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import apart, growing
from tests.namespaces import seen_in_own_network

pytestmark = pytest.mark.bench


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `growing.py` saw."""
    return seen_in_own_network("tests.integration.growing", tmp_path_factory.mktemp("growing") / "seen.json")


def test_it_goes_on_with_fewer_workers_and_takes_those_of_a_node_that_is_back(seen: dict[str, Any]) -> None:
    changed = seen["changing"]["cut"]
    before, meanwhile, then = changed["workers"]
    assert before == then == {"one": 2, "two": 2}
    assert meanwhile == {"one": 2, "two": 2, changed["lost"]: 0}
    lower, upper = changed["samples"]
    assert 0 < lower < upper <= growing.EPOCHS * apart.TOY.clips  # it trained before, between and after


def test_what_it_learned_is_that_of_one_process_up_to_rounding(seen: dict[str, Any]) -> None:
    """Four workers, two, four: the batches are the same, and their sums are added up in different orders."""
    changing, alone = (seen[name]["history"]["epochs"] for name in ("changing", "alone"))
    assert len(changing) == len(alone) == growing.EPOCHS
    for record, expected in zip(changing, alone, strict=True):
        assert record["loss"] == pytest.approx(expected["loss"], rel=1e-3), record["epoch"]
    assert seen["apart"] < 1e-3
