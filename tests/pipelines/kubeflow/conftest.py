from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pipelines.kfp_stack import only_the_caller


@pytest.fixture(autouse=True, scope="module")
def quick_kfp(request: pytest.FixtureRequest) -> Iterator[None]:
    """For the modules that build pipelines."""
    if not hasattr(request.module, "retrain"):
        yield
        return
    with only_the_caller():
        yield
