"""KFP without its look at the whole stack.

At every setting of a task, KFP reads the sources of all callers to name one of them in an error. Among the frames and
modules of a test session that takes a tenth of a second, a hundred times per pipeline.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest


@contextmanager
def only_the_caller() -> Iterator[None]:
    """KFP sees the name of the function that calls it, which is all that it reads."""
    from kfp.dsl import pipeline_task

    def stack() -> list[tuple[object, ...]]:
        frames = (sys._getframe(1), sys._getframe(2))
        return [(frame, "", 0, frame.f_code.co_name, None, None) for frame in frames]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_task, "inspect", SimpleNamespace(stack=stack))
        yield
