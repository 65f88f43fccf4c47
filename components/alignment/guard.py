"""Alignment in a guarded process (`runtime.guarded`), so that a clip that kills the decoder loses only itself.

Every caller that aligns untrusted media (a worker of the stage, `mer predict`, a replica) passes it to a child process
that holds the aligner. A clip that kills the child is `crashed`, one over its time `too-slow`, one over its memory
`memory`; all other refusals come from the aligner. Starting the first child takes a few seconds (its imports).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from components.alignment.outcome import ClipOutcome, align_one, measured, packed, refused, unpacked
from components.contracts.codes import Code
from components.contracts.config import Alignment
from components.contracts.errors import MediaError
from components.contracts.records import AlignedClip, Clip
from components.media.images import image_times
from components.media.probe import image_format
from components.media.source import open_media, out_of_memory, picture_stream, too_slow
from components.runtime.fork_server import fork_server
from components.runtime.guarded import ChildEndedError, Fields, Guarded, Handler

SERVE = f"{__name__}:serve"
KILLED = "signal SIGKILL"  # so the kernel ends a process where memory runs out


class Guard:
    """Aligns clips in a child process; a context manager. The child starts with the first clip, or with `start`.
    Threads take turns.

    Args:
        config: of the aligner.
        root: where relative media paths start.
        wall_s: the most wall-clock seconds per clip; None: only processor time is limited.
    """

    def __init__(self, config: Alignment, root: Path, *, wall_s: float | None = None) -> None:
        self.root = root
        self.limits = config.limits
        self._wall_s = wall_s
        settings = {"config": config.model_dump(mode="json"), "root": str(root)}
        self._child = Guarded(SERVE, settings, config.limits, wall_s=wall_s)

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def align(self, clip: Clip) -> dict[str, Any]:
        """The outcome of a clip before the quality gate, as `outcome.packed` writes it.

        Raises:
            UnavailableError: weights that the configuration needs are not installed, or no child can be started.
        """
        try:
            fields, row = self._request({"do": "align", "clip": clip.to_row()}, clip.clip_id)
        except MediaError as error:
            return packed(refused(clip, error))
        return {**fields, "row": row}

    def result(self, clip: Clip) -> ClipOutcome:
        """As `align`, unpacked."""
        return unpacked(clip, self.align(clip))

    def aligned(self, clip: Clip) -> AlignedClip:
        """As `Aligner.align_ungated`, with its errors; further `crashed`, and a RuntimeError where the aligner has a
        defect."""
        _, row = self._request({"do": "aligned", "clip": clip.to_row()}, clip.clip_id)
        return AlignedClip.from_row(pa.ipc.open_stream(row).read_all().to_pylist()[0])

    def has_picture(self, path: Path) -> bool:
        """Whether a media file has a picture stream, or is a picture. Raises MediaError as `source.open_media`,
        `images.image_times` and `aligned`."""
        fields, _ = self._request({"do": "open", "path": str(path)}, path.name)
        return bool(fields["picture"])

    def start(self) -> None:
        """Starts the child without waiting for it."""
        self._child.start()

    def wait(self) -> None:
        """Waits until the child is ready; raises UnavailableError as `align`."""
        self._child.wait()

    def close(self) -> None:
        """Ends the child. The next clip would start a new one."""
        self._child.close()

    @property
    def pid(self) -> int | None:
        """The child's process id, while it runs."""
        return self._child.pid

    def _request(self, request: Mapping[str, Any], where: str) -> tuple[Fields, bytes | None]:
        try:
            return self._child.ask(request)
        except ChildEndedError as ended:
            if ended.over_work:
                raise too_slow(self.limits, where) from ended
            if ended.over_time:
                raise _too_late(self._wall_s, where) from ended
            raise _crashed(ended, where) from ended


def prepare(config: Alignment) -> None:
    """Starts the imports of this process's guards with a configuration, without waiting for them."""
    fork_server(__name__).prepare({"config": config.model_dump(mode="json")})


def imports(settings: Fields) -> None:
    """What the children import, as `runtime.guarded` requires it."""
    import scipy.signal  # noqa: F401  # for voices and faces

    import components.alignment.align

    if settings["config"]["face"]["detector"] == "mtcnn":
        import components.alignment.faces.mtcnn  # noqa: F401


def serve(settings: Fields) -> Handler:
    """The handler of the child, as `runtime.guarded` requires it."""
    from components.alignment.align import Aligner  # seconds of imports, which only the child needs

    config, root = Alignment.model_validate(settings["config"]), Path(settings["root"])
    aligner = Aligner(config)

    def handler(request: Fields) -> tuple[Fields, bytes | None]:
        if request["do"] == "open":
            path = root / request["path"]
            if image_format(path) is not None:
                image_times(path, config.limits, where=path.name)
                return {"picture": True}, None
            with open_media(path, config.limits, where=path.name) as container:
                return {"picture": picture_stream(container) is not None}, None
        clip = Clip.from_row(request["clip"])
        if request["do"] == "align":
            fields = packed(align_one(aligner, clip, root))
        else:
            try:
                fields = packed(measured(aligner.align_ungated(clip, root=root)))
            except MemoryError as error:
                raise out_of_memory(config.limits, clip.clip_id) from error
        row = fields.pop("row")
        return fields, row

    return handler


def _too_late(wall_s: float | None, where: str) -> MediaError:
    return MediaError(
        "the clip takes too long to align",
        where=where,
        seen=f"more than {wall_s:g} s",
        allowed=f"at most {wall_s:g} s",
        remedy="Try again when the machine is less busy, or cut the clip into parts",
        code=Code.TOO_SLOW,
    )


def _crashed(ended: ChildEndedError, where: str) -> MediaError:
    return MediaError(
        "decoding the clip ends the process that does it",
        where=where,
        seen=ended.how,
        allowed="a file that decodes or is refused",
        remedy="Too little memory on the machine: stop other work, or let fewer clips be aligned at once (ray.num_cpus)"
        if ended.how.startswith(KILLED)
        else "Convert the clip with a different tool; report the file to the makers of FFmpeg",
        code=Code.CRASHED,
    )
