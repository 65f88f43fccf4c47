"""Reads the body of `POST /v1/predict:features` in a guarded process (`runtime.children.guarded`), whose memory and
time are bounded and which may read uploads alone. It ends with a large body, so that what that took is given back: a
megabyte of numbers as text becomes forty of Python's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from components.alignment.guard import busy, crashed, too_late
from components.contracts.config import MediaLimits
from components.features.base import Encoded
from components.media.source import out_of_memory, too_slow
from components.runtime.children import confinement
from components.runtime.children.guarded import ChildEndedError, Fields, Guarded, Handler, InChild
from components.runtime.patience import OutOfTimeError, Patience
from components.serving.http.feature_body import WHERE, is_json, read_features

SERVE = f"{__name__}:serve"
WORK_S = 20.0  # the largest body takes about one
KEPT_BYTES, KEPT_JSON_BYTES = 4 << 20, 1 << 17  # the largest body after which the child goes on
VALUES, VALID = "values", "valid"


class FeatureGuard(InChild):
    """Reads bodies in a child process. Threads take turns.

    Args:
        limits: memory of a request.
        only: the folder of uploads.
    """

    def __init__(self, limits: MediaLimits, only: Path) -> None:
        self._limits = limits
        self._child = Guarded(SERVE, {}, limits, bare=True, only=(only,))

    def read(
        self,
        path: Path,
        content_type: str,
        *,
        widths: Mapping[str, int],
        rate_hz: float,
        max_duration_s: float,
        patience: Patience | None = None,
    ) -> dict[str, Encoded]:
        """As `read_features`, of the body in a file.

        Raises:
            DataError, MediaError: as `read_features`; further `too-slow`, `memory`, `crashed`.
            UnavailableError: `busy`, or no child can be started.
            GivenUpError: the caller has given up.
        """
        request = {
            "path": str(path),
            "content_type": content_type,
            "widths": dict(widths),
            "rate_hz": rate_hz,
            "max_duration_s": max_duration_s,
        }
        try:
            fields, body = self._child.ask(request, work_s=WORK_S, patience=patience)
        except OutOfTimeError as late:
            raise busy(patience, WHERE) from late
        except ChildEndedError as ended:
            if ended.over_work:
                raise too_slow(self._limits, WHERE) from ended
            raise (too_late(patience, WHERE) if ended.over_time else crashed(ended, WHERE)) from ended
        finally:
            if path.stat().st_size > (KEPT_JSON_BYTES if is_json(content_type) else KEPT_BYTES):
                self.close()
        if fields["memory"]:
            raise out_of_memory(self._limits, WHERE)
        assert body is not None
        return _unpacked(body)


def imports(settings: Fields) -> None:
    """What the children import, as `runtime.children.guarded` requires it, besides this module."""
    confinement.prepare()


def serve(settings: Fields) -> Handler:
    """The handler of the child, as `runtime.children.guarded` requires it."""

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        try:
            features = read_features(
                Path(request["path"]).read_bytes(),
                request["content_type"],
                widths=request["widths"],
                rate_hz=request["rate_hz"],
                max_duration_s=request["max_duration_s"],
            )
            return {"memory": False}, _packed(features)
        except MemoryError:
            return {"memory": True}, None

    return handler


def _packed(features: Mapping[str, Encoded]) -> bytes:
    arrays = {f"{VALUES}/{name}": np.ascontiguousarray(encoded.values) for name, encoded in features.items()}
    arrays |= {f"{VALID}/{name}": np.ascontiguousarray(encoded.valid) for name, encoded in features.items()}
    return bytes(save(arrays))


def _unpacked(body: bytes) -> dict[str, Encoded]:
    arrays = load(body)
    names = (key.partition("/")[2] for key in arrays if key.startswith(f"{VALUES}/"))
    return {name: Encoded(arrays[f"{VALUES}/{name}"], arrays[f"{VALID}/{name}"]) for name in sorted(names)}
