"""What an MLflow server answers that fails again and again.

MLflow sends a request that fails (status 500, 503 and the like) again for four minutes and then reports the status
alone. That the server's disk is full stands in the answers; with this the last one is read like any other.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any


@functools.cache
def read_last_answer() -> None:
    """For this process: the last answer to a request that goes on failing is returned, not dropped."""
    from mlflow.utils import rest_utils

    # MLflow has no setting for it; its own `raise_on_status=False` is what is passed here.
    send = rest_utils._get_http_response_with_retries

    parameters = inspect.signature(send)

    @functools.wraps(send)
    def returning(*arguments: Any, **options: Any) -> Any:
        call = parameters.bind(*arguments, **options)
        call.arguments["raise_on_status"] = False
        return send(*call.args, **call.kwargs)

    rest_utils._get_http_response_with_retries = returning
