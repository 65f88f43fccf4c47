"""Works on jobs in a replica, one clip at a time, and only while requests leave it a place. No Ray here."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from components.contracts.codes import Code
from components.contracts.errors import MediaError, MerError, UnavailableError
from components.contracts.room import full_disk_named
from components.media.probe import check_file
from components.runtime.patience import GivenUpError, Patience
from components.serving.batch.answered import ClipFiles, answer_of, write_problem, write_text
from components.serving.batch.jobs import ANSWERED, FAILED, Claim, Job, Jobs
from components.serving.batch.schemas import BatchClip
from components.serving.http.uploads import MAX_PHYSIO_BYTES, safe_name
from components.serving.metrics import metrics

if TYPE_CHECKING:
    from components.serving.http.admission import Admission
    from components.serving.predictor import Predictor
    from components.serving.service import Service

LOOK_S = 1.0
# A disk that is full, a version that is not there yet: the clip waits, and is not failed for it.
TROUBLE_S = 10.0
SWEEP_S = 300.0

log = logging.getLogger(__name__)


class Worker:
    """The worker of one replica.

    Args:
        service: of the replica.
        jobs: of the machine.
        admission: the places of the replica.
        sources: folders whose files a job may name.
    """

    def __init__(self, service: Service, jobs: Jobs, admission: Admission, sources: tuple[Path, ...]) -> None:
        self._service, self._jobs, self._admission, self._sources = service, jobs, admission, sources

    async def run(self) -> None:
        """Works until it is cancelled."""
        swept_s = -SWEEP_S
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() > swept_s + SWEEP_S:
                    swept_s = loop.time()
                    await asyncio.to_thread(self._jobs.sweep)
                worked = await self.step()
            except (MerError, OSError) as error:
                log.warning("jobs wait: %s", error)
                await asyncio.sleep(TROUBLE_S)
                continue
            await asyncio.sleep(0 if worked else LOOK_S)

    async def step(self) -> bool:
        """Judges one clip, if one waits; whether one did.

        Raises:
            UnavailableError: no version is served, or the disk is full; the clip still waits.
        """
        self._service.current()
        async with self._admission.left_over():
            claimed = self._jobs.claimed()
            claim = await asyncio.to_thread(claimed.__enter__)
            error: BaseException | None = None
            try:
                if claim is not None:
                    with metrics().running.track_inprogress():
                        await self._judged(claim)
            except BaseException as caught:
                error = caught
            ended = partial(claimed.__exit__, type(error) if error else None, error, None)
            await asyncio.shield(asyncio.to_thread(ended))
            if error is not None:
                raise error
        return claim is not None

    async def _judged(self, claim: Claim) -> None:
        """Judges a clip in a thread; ends that where the job is deleted, or this process ends."""
        patience = self._service.patience()
        work = asyncio.ensure_future(asyncio.to_thread(self._judge, claim, patience))
        try:
            while not (await asyncio.wait({work}, timeout=LOOK_S))[0]:
                if await asyncio.to_thread(claim.job.gone):
                    patience.give_up()
        except asyncio.CancelledError:
            patience.give_up()
            await asyncio.wait({work})
            raise
        work.result()

    def _judge(self, claim: Claim, patience: Patience) -> None:
        job, predictor = claim.job, self._service.current()
        outcome = ANSWERED
        try:
            with TemporaryDirectory(prefix="mer-batch-", dir=self._service.uploads.path) as folder:
                files = self._brought(claim, Path(folder), predictor)
                answer = answer_of(files, predictor, patience, why=job.record.request.why)
            metrics().answered(answer)
            if not job.gone():
                write_text(job.answer(claim.number), answer.to_json())
        except GivenUpError:  # deleted, or this process ends
            return
        except MerError as error:
            if isinstance(error, UnavailableError):
                raise
            outcome = FAILED
            if not job.gone():
                write_problem(job.answer(claim.number), error)
        claim.end(outcome)

    def _brought(self, claim: Claim, folder: Path, predictor: Predictor) -> ClipFiles:
        """The files of a clip where the child that opens media may read them: below the folder of uploads."""
        job, clip = claim.job, claim.clip
        most = predictor.guard.limits.max_bytes
        with full_disk_named(folder):
            words = folder / "words"
            if clip.words is not None:
                words.write_text(json.dumps(clip.words), encoding="utf-8")
            transcript = folder / "transcript"
            if clip.transcript is not None:
                transcript.write_text(clip.transcript, encoding="utf-8", errors="replace")
            return ClipFiles(
                name=clip.shown,
                clip=_copied(self._source(job, "clip", clip.clip, clip.path), folder / "clip", most),
                transcript=transcript if clip.transcript is not None else None,
                words=words if clip.words is not None else None,
                physio=self._physio(job, clip, folder / "physio"),
                video_track=clip.video_track,
                audio_track=clip.audio_track,
            )

    def _physio(self, job: Job, clip: BatchClip, folder: Path) -> Path | None:
        if clip.physio is None and clip.physio_path is None:
            return None
        return _copied(self._source(job, "physio", clip.physio, clip.physio_path), folder, MAX_PHYSIO_BYTES)

    def _source(self, job: Job, part: str, sent: str | None, path: str | None) -> Path:
        return allowed(path, self._sources) if sent is None else job.sent(part, sent)


def _copied(source: Path, folder: Path, most: int) -> Path:
    """A copy of a file, which must not be larger."""
    check_file(source, max_bytes=most, where=source.name)
    target = folder / safe_name(source.name)
    folder.mkdir()
    shutil.copyfile(source, target)
    return target


def allowed(path: str | None, sources: tuple[Path, ...]) -> Path:
    """The file at a path that a client names, links followed. Raises MediaError (`not-allowed`) where it lies in none
    of the folders from which jobs may take files."""
    resolved = Path(path or "").resolve()
    if Path(path or "").is_absolute() and any(resolved.is_relative_to(folder.resolve()) for folder in sources):
        return resolved
    raise MediaError(
        "the service may not read this file for a job",
        where=str(path)[:200],
        allowed="absolute paths below a folder of serving.batch_sources"
        if sources
        else "files that come with the request, since serving.batch_sources is empty",
        code=Code.NOT_ALLOWED,
    )
