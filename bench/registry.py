"""Every benchmark by its name."""

from __future__ import annotations

from typing import Any

from bench import gpu_step, memory, rerun, stages, stored_features, streaming_step, training_step
from bench.benchmark import Benchmark
from bench.service import fuzz, live_streams, many_clips, promotions, shadow, throughput
from bench.training import checkpoint, corpus_size, evaluation_size, kill, logged, object_store, overlap, workers

BENCHMARKS: dict[str, Benchmark[Any]] = {
    "training-step": training_step.BENCHMARK,
    "training-workers": workers.BENCHMARK,
    "training-overlap": overlap.BENCHMARK,
    "training-corpus": corpus_size.BENCHMARK,
    "evaluation-corpus": evaluation_size.BENCHMARK,
    "training-checkpoint": checkpoint.BENCHMARK,
    "training-logged": logged.BENCHMARK,
    "training-kill": kill.BENCHMARK,
    "training-store": object_store.BENCHMARK,
    "stored-features": stored_features.BENCHMARK,
    "streaming-step": streaming_step.BENCHMARK,
    "live-streams": live_streams.BENCHMARK,
    "throughput": throughput.BENCHMARK,
    "promotions": promotions.BENCHMARK,
    "promotions-under-load": promotions.UNDER_LOAD,
    "shadow": shadow.BENCHMARK,
    "stages": stages.BENCHMARK,
    "rerun": rerun.BENCHMARK,
    "memory": memory.BENCHMARK,
    "many-clips": many_clips.BENCHMARK,
    "fuzz": fuzz.BENCHMARK,
    "gpu-step": gpu_step.BENCHMARK,
}
