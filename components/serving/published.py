"""What replicas count of a trial, where the reconciler reads it: in the key-value store of Ray's cluster.

Replicas are on several nodes, and one that ends leaves its counts. One entry per replica, written at most once a
second.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from functools import reduce
from operator import add

from components.serving.trial import TrialCounts

NAMESPACE = b"mer-trials"
EVERY_S = 1.0
log = logging.getLogger(__name__)


class Publisher:
    """Publishes what one replica counts, from a thread of its own, until the replica ends.

    Args:
        application: of Serve.
        replica: its id.
        counts: what was counted; None without a trial.
    """

    def __init__(self, application: str, replica: str, counts: Callable[[], TrialCounts | None]) -> None:
        self._key = f"{application}/{replica}".encode()
        self._published: TrialCounts | None = None
        self._stop = threading.Event()
        asked = weakref.WeakMethod(counts)
        threading.Thread(target=self._run, args=(asked,), name="trial counts", daemon=True).start()

    def _run(self, asked: Callable[[], Callable[[], TrialCounts | None] | None]) -> None:
        while not self._stop.wait(EVERY_S):
            counts = asked()
            if counts is None:
                return
            try:
                self._publish(counts())
            except Exception:
                log.warning("the counts of the trial could not be published", exc_info=True)
            del counts

    def _publish(self, counts: TrialCounts | None) -> None:
        if counts is None or counts == self._published:
            return
        from ray.experimental import internal_kv

        internal_kv._internal_kv_put(self._key, counts.model_dump_json().encode(), overwrite=True, namespace=NAMESPACE)
        self._published = counts


def counted(application: str, trial: str) -> TrialCounts | None:
    """The sum over the replicas of an application; entries of other trials are deleted. This process must be connected
    to Ray."""
    from ray.experimental import internal_kv

    found = []
    for key in internal_kv._internal_kv_list(f"{application}/".encode(), namespace=NAMESPACE):
        entry = internal_kv._internal_kv_get(key, namespace=NAMESPACE)
        counts = None if entry is None else TrialCounts.model_validate_json(entry)
        if counts is not None and counts.trial == trial:
            found.append(counts)
        elif counts is not None:
            internal_kv._internal_kv_del(key, namespace=NAMESPACE)
    return reduce(add, found) if found else None
