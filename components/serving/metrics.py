"""What the service counts, as Prometheus reads it. Aggregates alone: no clip, name, key or word is a label.

Proxies and replicas are processes of their own. With `FOLDER_VARIABLE`, which Ray must start with, each writes its
counts to that folder, and any process of the machine can report the sum of all; without it a process reports its own.
prometheus_client reads the variable when it is imported. `infra/monitoring` has a dashboard and alerts.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from components.contracts.codes import Code
from components.inference.profile import NOTHING, RATIOS, SHARES
from components.serving.answers.schemas import Answer, ModelIdentity

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "mer_"
CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
STEPS = (1, 10, 30, 100, 300, 1000, 3000)
# The steps of a prediction: its body arrives, it waits for its turn, its files are opened, decoded and aligned, and
# encoded, and the model judges them.
RECEIVE, QUEUE, OPEN, DECODE, FEATURES, MODEL = STAGES = ("receive", "queue", "open", "decode", "features", "model")
# What becomes of a clip of a trial (`trial.py`), and its two sides.
AGREED, DIFFERED, ERROR, DROPPED = OUTCOMES = ("agreed", "differed", "error", "dropped")
CHAMPION, CHALLENGER = ROLES = ("champion", "challenger")
# Refusals that an alert watches stand at zero from the start, so that their first one is an increase.
WATCHED = (
    *(Code.BUSY, Code.UNAVAILABLE, Code.NO_VERSION, Code.TOO_MANY, Code.SLOW_UPLOAD, Code.NO_ROOM, Code.INTERNAL),
    *(Code.TOO_SLOW, Code.MEMORY, Code.CRASHED),
)


class ServiceMetrics:
    """The metrics of this process."""

    def __init__(self) -> None:
        self._folder = Path(os.environ[FOLDER_VARIABLE]) if values.ValueClass._multiprocess else None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._registry = registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: Iterable[float]) -> Histogram:
            return Histogram(PREFIX + name, text, labels, buckets=tuple(buckets), registry=registry)

        def gauge(name: str, text: str, *labels: str, mode: str) -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        self.requests = counter("http_requests", "Requests that were answered.", "route", "method", "status")
        self.seconds = histogram("http_request_seconds", "From the first byte to the last.", "route", buckets=SECONDS)
        self.refusals = counter("refusals", "Refusals by the code of their Problem.", "code")
        self.stages = histogram("stage_seconds", "The steps of a prediction.", "stage", buckets=SECONDS)
        self.receiving = gauge("uploads_receiving", "Bodies that are arriving.", mode="livesum")
        self.waiting = gauge("predictions_waiting", "Predictions that wait for their turn.", mode="livesum")
        self.running = gauge("predictions_running", "Predictions that are being made.", mode="livesum")
        self.streams = gauge("streams", "Live streams, also those that wait for their client.", mode="livesum")
        self.stream_steps = counter("stream_steps", "Steps of live streams that were judged.")
        self.stream_part = histogram(
            "stream_part_seconds", "From when a part of a live stream is due until it is judged.", buckets=SECONDS
        )
        self.steps = histogram(
            "model_batch_steps", "Moments that the model judges at once: those of one clip.", buckets=STEPS
        )
        self.answers = counter("answers", "Answers by their emotion and version.", "emotion", "version")
        self.confidence = histogram("confidence", "Calibrated confidence of answers.", buckets=SHARES)
        self.missing = counter("missing_modalities", "Answers without this modality of the version.", "modality")
        self.contradiction = histogram("contradiction_score", "Of answers with two modalities.", buckets=SHARES)
        self.contradictory = counter("contradictory_answers", "Answers whose score reaches the version's threshold.")
        self.distance = histogram(
            "training_distance_ratio",
            "Distance from the training data, by its threshold.",
            "modality",
            buckets=RATIOS,
        )
        self.outside = counter("outside_training_answers", "Answers to clips unlike the training data.")
        labels = ("name", "version", "bundle_sha256", "git_commit")
        self.version = gauge("version_info", "1: a replica has this version.", *labels, mode="livemax")
        self.loaded = gauge(
            "version_loaded_timestamp_seconds", "When a replica last took a version, as Unix time.", mode="livemax"
        )
        self.trials = counter("trial_comparisons", "Clips of a challenger on trial, by what became of them.", "outcome")
        self.trial_answers = counter("trial_answers", "Requests that a challenger on trial answered.")
        self.trial_seconds = histogram(
            "trial_seconds", "What both sides of a trial take for the same clip.", "role", buckets=SECONDS
        )
        self.trial_share = gauge("trial_share", "Share of clips that a challenger on trial answers.", mode="livemax")
        for outcome in OUTCOMES:
            self.trials.labels(outcome)
        for role in ROLES:
            self.trial_seconds.labels(role)
        for stage in STAGES:
            self.stages.labels(stage)
        for code in WATCHED:
            self.refusals.labels(code)

    def exposition(self) -> bytes:
        """The text that Prometheus reads: of every process that writes to the folder, where there is one."""
        if self._folder is None:
            return generate_latest(self._registry)
        _forget_ended(self._folder)
        together = CollectorRegistry()
        together.register(_Together(self._folder))
        return generate_latest(together)

    @contextmanager
    def stage(self, stage: str) -> Iterator[None]:
        """Measures a step of a prediction, whether it succeeds or not."""
        with self.stages.labels(stage).time():
            yield

    def served(self, version: ModelIdentity | None, *, before: ModelIdentity | None) -> None:
        """Notes that this replica changed from a version, or none, to a different one, or to none."""
        for identity, value in ((before, 0), (version, 1)):
            if identity is not None:
                labels = (identity.name, identity.version, identity.bundle_sha256, identity.git_commit)
                self.version.labels(*labels).set(value)
        if version is not None:
            self.loaded.set(time.time())

    def answered(self, answer: Answer) -> None:
        """Counts an answer."""
        self.answers.labels(answer.emotion or NOTHING, answer.model.version).inc()
        self.steps.observe(len(answer.timeline))
        if answer.confidence is not None:
            self.confidence.observe(answer.confidence)
        for modality, share in answer.presence.items():
            self.missing.labels(modality).inc(share == 0.0)
        if answer.contradiction.score is not None:
            self.contradiction.observe(answer.contradiction.score)
            self.contradictory.inc(answer.contradiction.score >= answer.contradiction.threshold)
        for modality, distance in answer.outside_training.modalities.items():
            if distance.threshold > 0:
                self.distance.labels(modality).observe(distance.distance / distance.threshold)
        self.outside.inc(answer.outside_training.flag)


@cache
def metrics() -> ServiceMetrics:
    """Those of this process, made at the first call."""
    return ServiceMetrics()


class _Together:
    """The service's own metrics of all processes: Ray's write to the same folder."""

    def __init__(self, folder: Path) -> None:
        self._files = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        return [metric for metric in self._files.collect() if metric.name.startswith(PREFIX)]  # type: ignore[no-untyped-call]


def _forget_ended(folder: Path) -> None:
    """Removes the gauges of processes that have ended; what they counted stays."""
    for file in folder.glob("gauge_live*.db"):
        match = re.search(r"_(\d+)\.db$", file.name)
        if match and not psutil.pid_exists(int(match[1])):
            with suppress(FileNotFoundError):  # another scrape was faster
                mark_process_dead(int(match[1]), path=str(folder))  # type: ignore[no-untyped-call]
