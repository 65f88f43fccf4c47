"""Encoding in a guarded process (`runtime.children.guarded`), for a caller that answers requests.

Encoders compute for as long as a clip asks of them, in foreign code that no thread can be called back from. In a child
a request ends when its caller gives up or its time is over, and the caller's own process stays free for others. The
child loads and warms its encoders at its start: all, or those of the modalities that are expected.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from components.alignment.guard import busy, crashed, too_late, unpacked_row
from components.contracts.config import MediaLimits
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip
from components.features.base import Classifying, Encoded, Encoder, empty
from components.features.languages import Unread, recognised, unread
from components.features.registry import create
from components.features.warm import warm_clip
from components.media.source import out_of_memory, too_slow
from components.runtime.children.fork_server import fork_server
from components.runtime.children.guarded import BODY, ChildEndedError, Fields, Guarded, Handler, InChild
from components.runtime.patience import OutOfTimeError, Patience

SERVE = f"{__name__}:serve"
# A clip's share of processor time: the slowest checkpoints take some two seconds per second of clip without a GPU.
FREE_WORK_S = 30.0
WORK_S_PER_S = 10.0
FEATURES, SCORES, EXPECTED, LANGUAGE, BEFORE = "features", "scores", "expected", "language", "before"


@dataclass(frozen=True, kw_only=True)
class Encodings:
    """What became of one clip: features by modality, the scores of the encoders' own classifiers, the language of the
    words where it was recognised, and by modality why an encoder did not read them."""

    features: Mapping[str, Encoded] = field(default_factory=dict)
    scores: Mapping[str, Encoded] = field(default_factory=dict)
    language: str | None = None
    unread: Mapping[str, Unread] = field(default_factory=dict)


class EncoderGuard(InChild):
    """Encodes aligned clips in a child process, which starts with the first clip or with `start`. Threads take turns.

    Args:
        encoders: modality → spec, of the encoders whose features are wanted.
        classifiers: modality → spec, of those whose scores are wanted.
        limits: processor time and memory of a clip.
        device: as for `registry.create`.
        expected: the modalities of the clips to come; None: any. An encoder of a different one is loaded by the first
            clip that has it.
    """

    def __init__(
        self,
        encoders: Mapping[str, str],
        classifiers: Mapping[str, str],
        limits: MediaLimits,
        *,
        device: str = "cpu",
        expected: Collection[str] | None = None,
    ) -> None:
        self._limits = limits
        settings = {
            FEATURES: dict(encoders),
            SCORES: dict(classifiers),
            "device": device,
            EXPECTED: None if expected is None else sorted(expected),
        }
        self._child = Guarded(SERVE, settings, limits)

    def encode(
        self, row: bytes, aligned: AlignedClip, *, before: str = "", patience: Patience | None = None
    ) -> Encodings:
        """The encodings of one clip.

        Args:
            row: as `alignment.guard.Guard.aligned_row` returns it.
            aligned: the same, unpacked.
            before: what was said before it, by which the language of its words is recognised too.
            patience: how long the caller waits.

        Raises:
            MediaError: `too-slow`, `memory`, or `crashed`.
            UnavailableError: `busy`; as `registry.create`; or no child can be started.
            GivenUpError: the caller has given up.
        """
        work_s = min(FREE_WORK_S + WORK_S_PER_S * aligned.quality.duration_s, self._limits.max_work_s)
        try:
            fields, body = self._child.ask({BEFORE: before}, row, work_s=work_s, patience=patience)
        except OutOfTimeError as late:
            raise busy(patience, aligned.clip_id) from late
        except ChildEndedError as ended:
            raise self._refusal(ended, aligned.clip_id, patience) from ended
        if fields["memory"]:
            raise out_of_memory(self._limits, aligned.clip_id)
        assert body is not None
        return _unpacked(body, fields)

    def _refusal(self, ended: ChildEndedError, where: str, patience: Patience | None) -> MediaError:
        if ended.over_work:
            return too_slow(self._limits, where)
        if ended.over_time:
            return too_late(patience, where)
        return crashed(ended, where)


def prepare() -> None:
    """Starts the imports of this process's guards, without waiting for them; most are those of this process, too."""
    imports({})
    fork_server(__name__).prepare_here({})


def imports(settings: Fields) -> None:
    """What the children import, as `runtime.children.guarded` requires it."""
    import torch  # noqa: F401


def serve(settings: Fields) -> Handler:
    """The handler of the child, as `runtime.children.guarded` requires it."""
    loaded: dict[tuple[str, str], Encoder] = {}
    for name, spec in (*settings[FEATURES].items(), *settings[SCORES].items()):
        if (name, spec) not in loaded:
            loaded[name, spec] = create(spec, name, settings["device"])
            if settings[EXPECTED] is None or name in settings[EXPECTED]:
                loaded[name, spec].encode([warm_clip()])
    encoders = {name: loaded[name, spec] for name, spec in settings[FEATURES].items()}
    classifiers = {name: loaded[name, spec] for name, spec in settings[SCORES].items()}
    all_of_them = {**classifiers, **encoders}

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        try:
            clip = [unpacked_row(request[BODY])]
            language = recognised(clip[0].words, request[BEFORE]) if clip[0].words else None
            foreign = {name: why for name, own in all_of_them.items() if (why := unread(own, language))}
            features = {name: _features(own, clip, read=name not in foreign) for name, own in encoders.items()}
            scores = {name: _scores(own, clip, read=name not in foreign) for name, own in classifiers.items()}
            fields = {LANGUAGE: language, "unread": {name: asdict(why) for name, why in foreign.items()}}
            return {"memory": False, **fields}, _packed(Encodings(features=features, scores=scores))
        except MemoryError:
            return {"memory": True}, None

    return handler


def _features(encoder: Encoder, clip: Sequence[AlignedClip], *, read: bool) -> Encoded:
    return encoder.encode(clip)[0] if read else empty(clip[0].grid.num_steps, encoder.width)


def _scores(encoder: Encoder, clip: Sequence[AlignedClip], *, read: bool) -> Encoded:
    assert isinstance(encoder, Classifying)
    assert encoder.pretrained is not None
    return encoder.classify(clip)[0] if read else empty(clip[0].grid.num_steps, len(encoder.pretrained.labels))


def _packed(encodings: Encodings) -> bytes:
    arrays: dict[str, Any] = {}
    for kind, parts in ((FEATURES, encodings.features), (SCORES, encodings.scores)):
        for name, encoded in parts.items():
            arrays[f"{kind}/{name}/values"] = np.ascontiguousarray(encoded.values)
            arrays[f"{kind}/{name}/valid"] = np.ascontiguousarray(encoded.valid)
    return bytes(save(arrays))


def _unpacked(body: bytes, fields: Fields) -> Encodings:
    arrays = load(body)
    parts: dict[str, dict[str, Encoded]] = {FEATURES: {}, SCORES: {}}
    for key in arrays:
        kind, _, rest = key.partition("/")
        name, _, what = rest.rpartition("/")
        if what == "values":
            parts[kind][name] = Encoded(arrays[key], arrays[f"{kind}/{name}/valid"])
    return Encodings(
        features=parts[FEATURES],
        scores=parts[SCORES],
        language=fields[LANGUAGE],
        unread={name: Unread(**{**why, "known": tuple(why["known"])}) for name, why in fields["unread"].items()},
    )
