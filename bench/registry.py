"""Every benchmark by its name."""

from __future__ import annotations

from typing import Any

from bench import gpu_step, memory, rerun, stages, stored_features, streaming_step, training_step
from bench.benchmark import Benchmark
from bench.service import live_streams, promotions, shadow

BENCHMARKS: dict[str, Benchmark[Any]] = {
    "training-step": training_step.BENCHMARK,
    "stored-features": stored_features.BENCHMARK,
    "streaming-step": streaming_step.BENCHMARK,
    "live-streams": live_streams.BENCHMARK,
    "promotions": promotions.BENCHMARK,
    "shadow": shadow.BENCHMARK,
    "stages": stages.BENCHMARK,
    "rerun": rerun.BENCHMARK,
    "memory": memory.BENCHMARK,
    "gpu-step": gpu_step.BENCHMARK,
}
