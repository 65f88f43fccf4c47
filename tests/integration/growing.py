"""A program that trains on two Ray nodes, of which one is killed and comes back; they share nothing but a store.

`python -m tests.integration.growing <file>` in namespaces of its own (`tests/namespaces.py`) writes what it saw to the
file. Its cluster is that of `apart.py`.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from components.training import trainer
from tests.integration import apart

# Each node has room for two.
NODES, WORKERS, FEWEST = ("one", "two"), 4, 2
EPOCHS = 90
# Nothing that a model draws while it learns, which differs with the number of workers.
MODEL = {**apart.MODEL, "dropout": 0.0, "statistics_dropout": 0.0, "statistics_noise": 0.0, "statistics_mixup": 0.0}
RESIZE_S = 5.0
STEPS_BETWEEN = 10
WORKER = "RayTrainWorker"


def main(seen: Path) -> None:
    apart.make_network()
    with apart.object_store() as endpoint:
        os.environ.update(apart.ENVIRONMENT, AWS_ENDPOINT_URL=endpoint, RAY_AUTH_TOKEN=secrets.token_hex(32))
        for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "HTTP_PROXY", "http_proxy"):
            os.environ.pop(name, None)
        apart.prepare_folder()
        apart.ray_start("--head", f"--node-ip-address={apart.HEAD}", f"--port={apart.HEAD_PORT}", "--num-cpus=0")
        nodes = {name: apart.start_node(name, number) for number, name in enumerate(NODES)}
        os.environ["RAY_ADDRESS"] = f"{apart.HEAD}:{apart.HEAD_PORT}"
        apart.wait_for_nodes(len(NODES))
        trainer.RESIZE_S = RESIZE_S
        settings = {"epochs": EPOCHS, "model": MODEL}
        changing = apart.train(
            "changing", lambda store: lose_and_return(store, nodes), workers=WORKERS, min_workers=FEWEST, **settings
        )
        alone = apart.train("alone", workers=0, **settings)
        answer = {"changing": changing, "alone": alone, "apart": distance(changing["weights"], alone["weights"])}
        seen.write_text(json.dumps(answer))
    os._exit(0)  # with it end all processes of the namespace


def lose_and_return(store: str, nodes: dict[str, subprocess.Popen[bytes]]) -> dict[str, Any]:
    """Kills the node that writes the checkpoints in the middle of an epoch and starts it again; the workers of each
    node before, meanwhile and then, and what passed between."""
    wait(lambda: trains(store, WORKERS, 3 * apart.TOY.clips) and samples(store) % apart.TOY.clips > 0)
    before, first = workers(), next(name for name, node in nodes.items() if apart.writes_checkpoints(node))
    kill(first)
    killed, at = time.monotonic(), samples(store)
    wait(lambda: trains(store, FEWEST, at + 1))
    fewer_s, meanwhile = time.monotonic() - killed, workers()
    at = samples(store)
    wait(lambda: samples(store) >= at + STEPS_BETWEEN * apart.BATCH)
    apart.start_node(first, NODES.index(first))
    started, at = time.monotonic(), samples(store)
    wait(lambda: trains(store, WORKERS, at + 1))
    return {
        "lost": first,
        "workers": [before, meanwhile, workers()],
        "fewer_s": fewer_s,
        "back_s": time.monotonic() - started,
        "samples": [at, samples(store)],
    }


def trains(store: str, count: int, least: int) -> bool:
    """Whether so many workers are there, and the store has a state with so many samples."""
    return sum(workers().values()) == count and samples(store) >= least


def samples(store: str) -> int:
    return apart.samples_copied(store)


def workers() -> dict[str, int]:
    """Node → its workers that are alive."""
    from ray._private.state import actors

    places = Counter(actor["Address"]["IPAddress"] for actor in actors().values() if is_worker(actor))
    return {name: places[apart.address(number)] for number, name in enumerate(NODES)}


def is_worker(actor: dict[str, Any]) -> bool:
    return actor["State"] == "ALIVE" and WORKER in actor["ActorClassName"]


def kill(name: str) -> None:
    """Ends all processes of a node at once, as where its machine loses power."""
    done = subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True, text=True)
    for pid in done.stdout.split():
        os.kill(int(pid), signal.SIGKILL)


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + apart.PATIENCE_S
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError(f"workers {workers()}")
        time.sleep(0.2)


def distance(one: str, other: str) -> float:
    """The largest difference between weights."""
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    return max(float(torch.max(torch.abs(first[name] - second[name]))) for name in first)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
