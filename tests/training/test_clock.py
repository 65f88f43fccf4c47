from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from components.contracts.config import Runtime, Train
from components.training.clock import PARTS, Clock, in_words
from components.training.job import Epoch, Job, fit_here
from components.training.loop import TrainingTask
from components.training.profiling import SKIPPED, TRACE
from tests.model.toys import Toy, toy_spec


def test_seconds_are_taken_once_and_also_of_a_block_that_fails() -> None:
    clock = Clock(torch.device("cpu"))
    with clock("forward"):
        pass
    with pytest.raises(KeyError), clock("backward"):
        raise KeyError
    taken = clock.take()
    assert tuple(taken) == PARTS
    assert [name for name, seconds in taken.items() if seconds > 0] == ["forward", "backward"]
    assert not any(clock.take().values())


def test_the_largest_share_is_named_first_and_the_wait_for_data_always() -> None:
    words = in_words({"data_wait": 0.0, "forward": 2.0, "held_out": 5.0, "logging": 0.0001}, 10.0)
    assert words == "10 s: held out 50.0%, other 30.0%, forward 20.0%, data wait 0.0%"


def test_an_epoch_says_where_its_time_went_and_a_trace_names_the_parts(tmp_path: Path) -> None:
    toy = Toy(clips=5, steps=(6, 8))
    task = TrainingTask(spec=toy_spec(), train=Train(epochs=SKIPPED // 5 + 1, batch_clips=1), seed=0)
    epochs: list[Epoch] = []
    runtime = Runtime(workers=0, checkpoint_steps=1, profile_steps=3)
    fit_here(Job(task=task, items=toy.items, inputs_sha256="x"), tmp_path, epochs.append, runtime)
    assert sum(epochs[0].parts.values()) <= epochs[0].seconds
    assert {f"time/{part}_s" for part in PARTS} <= epochs[0].metrics.keys()
    # What the first epoch is logged for counts in the second.
    assert [part for part in PARTS if epochs[0].parts[part] == 0] == ["logging"]
    assert all(epochs[1].parts[part] > 0 for part in PARTS)
    events = json.loads((tmp_path / TRACE).read_text())["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert names.count("backward") == 3
    assert {"data_wait", "forward", "optimiser", "checkpoint"} <= set(names)
