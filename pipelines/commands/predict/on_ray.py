"""`mer predict … --out DIR --ray`: the clips over the actors of a Ray cluster, by Ray Data.

An actor does for a clip what `mer predict` does here (`folder.Order.answer`): it judges it in guarded processes of its
own and writes the answer. The project, the clips and the folder of answers must lie where every node finds them by the
same path. What is done is in the journal of the driver, so the same command goes on, with Ray or without.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.config import MediaLimits, RayResources
from components.contracts.errors import MerError, error_chain
from components.runtime.patience import Patience
from components.runtime.stream import blocks_of, streaming
from components.serving.batch.answered import ClipFiles
from pipelines.commands.predict.folder import Done, Judged, Order, state_of
from pipelines.ray_head import ray_head

if TYPE_CHECKING:
    from components.features.adaptation import Adaptation
    from components.serving.predictor import Predictor

# Clips of a task: few, since what is done is noted when the whole task is.
TASK_CLIPS = 8


@dataclass(frozen=True, kw_only=True)
class Version:
    """All that an actor needs to make a predictor of a version."""

    bundle: str
    name: str
    version: str
    limits: MediaLimits
    device: str
    adaptation: Adaptation | None

    @classmethod
    def of(cls, predictor: Predictor) -> Version:
        """That of a predictor here."""
        return cls(
            bundle=str(predictor.bundle.folder.resolve()),
            name=predictor.model.name,
            version=predictor.model.version,
            limits=predictor.guard.limits,
            device=predictor.pool.device,
            adaptation=predictor.adaptation,
        )

    def predictor(self) -> Predictor:
        """A predictor in this process. Raises as `load_bundle` and `Predictor`."""
        from components.registry.bundle import load_bundle
        from components.serving.predictor import Predictor

        bundle = load_bundle(Path(self.bundle))
        made = Predictor(bundle, name=self.name, version=self.version, limits=self.limits, device=self.device)
        return made if self.adaptation is None else made.adapted(self.adaptation)


class Judge:
    """An actor: one predictor, one thread."""

    def __init__(self, version: Version, order: Order) -> None:
        from components.runtime.threads import limit_threads

        limit_threads()
        self._predictor, self._order, self._patience = version.predictor(), order, Patience()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Clips as JSON → what became of them, as JSON."""
        jobs = [_clip_files(str(text)) for text in batch["job"]]
        done = [self._order.answer(job, self._predictor, self._patience) for job in jobs]
        return {"done": [json.dumps(asdict(one)) for one in done]}


@contextmanager
def judges(predictor: Predictor, order: Order, *, actors: int, ray: RayResources) -> Iterator[Judged]:
    """What answers clips on a Ray: that of `RAY_ADDRESS`, or one of its own, which ends with the block.

    Args:
        predictor: of the version; the actors make their own.
        order: what is made of each clip.
        actors: clips at once, each with a core of Ray.
        ray: the size of a Ray of its own.

    Raises:
        UnavailableError: the cluster does not answer, or Ray did not start.
    """
    order = replace(order, out=order.out.resolve())
    with ray_head(ray):
        from components.runtime.cluster import connect

        connect(ray)
        yield lambda jobs: _judged(jobs, Version.of(predictor), order, actors)


def _judged(jobs: Sequence[ClipFiles], version: Version, order: Order, actors: int) -> Generator[Done, None, None]:
    if not jobs:
        return
    import ray.data
    import ray.exceptions

    items = [{"job": _text(job)} for job in jobs]
    states = {job.name: state_of(job, order.version) for job in jobs}  # by the paths that were named here
    tasks = -(-len(items) // TASK_CLIPS)
    with streaming():
        dataset = ray.data.from_items(items, override_num_blocks=tasks).map_batches(
            Judge,
            fn_constructor_args=(version, order),
            batch_size=TASK_CLIPS,
            compute=ray.data.ActorPoolStrategy(size=min(actors, tasks), max_tasks_in_flight_per_actor=2),
            num_cpus=1,
        )
        try:
            for block in blocks_of(dataset):
                for text in block.column("done").to_pylist():
                    done = Done(**json.loads(text))
                    yield replace(done, state=states[done.name])
        except ray.exceptions.RayError as error:
            raise next((link for link in error_chain(error) if isinstance(link, MerError)), error) from error


def _text(job: ClipFiles) -> str:
    return json.dumps(asdict(job), default=lambda path: str(path.resolve()))


def _clip_files(text: str) -> ClipFiles:
    fields = json.loads(text)
    files = {name: fields[name] and Path(fields[name]) for name in ("clip", "transcript", "words", "physio")}
    return ClipFiles(**{**fields, **files})
