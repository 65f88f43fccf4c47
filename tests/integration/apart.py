"""A program that aligns, encodes and trains on Ray nodes that share nothing but an object store.

One of them is cut off in the middle of the training.

`python -m tests.integration.apart <file>` in namespaces of its own (`tests/namespaces.py`) writes what it saw to the
file. Each node has its own network behind a bridge and its own `/mnt`, in which are all of its folders. The code is
the same for all, as in an image.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.contracts.config import Params
from components.contracts.layout import Layout
from components.datasets import remote
from components.model.files import WEIGHTS
from components.training.checkpoints.state import STATE
from components.training.job import CHECKPOINTS
from components.training.nodes.place import STATE_PREFIX
from tests.alignment.test_stage import NAME as TINY
from tests.model.toys import Toy
from tests.training.catalogs import write_catalog
from tests.trees import tree_sha256

FOLDER = Path("/mnt")
HEAD, HEAD_PORT = "10.77.0.1", 6379
BUCKET = "corpora"
TOY = Toy(clips=40, steps=(8, 12), noise=0.7)
BATCH, EPOCHS = 8, 12
MODEL = {"width": 16, "heads": 2, "tcn_blocks": 2}
# A node has room for two, so the three are on two nodes, and the third node is there for the one that is lost.
NODES, WORKERS = ("one", "two", "three"), 3
CUT_AFTER = 2.5  # epochs
PATIENCE_S = 300
IN_FLIGHT_S = 2  # for what the store was just receiving
ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Sooner than after half a minute, so that the test waits less.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "3",
    # The machine's name has no address here; on machines of their own it has.
    "GLOO_SOCKET_IFNAME": "eth0",
}


def main(seen: Path) -> None:
    make_network()
    with object_store() as endpoint:
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=endpoint, RAY_AUTH_TOKEN=secrets.token_hex(32))
        for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "HTTP_PROXY", "http_proxy"):
            os.environ.pop(name, None)
        prepare_folder()
        head = ray_start("--head", f"--node-ip-address={HEAD}", f"--port={HEAD_PORT}", "--num-cpus=0")
        nodes = {name: start_node(name, number) for number, name in enumerate(NODES)}
        os.environ["RAY_ADDRESS"] = f"{HEAD}:{HEAD_PORT}"
        wait_for_nodes()
        answer: dict[str, Any] = {"clips": from_clips(), "whole": train("whole")}
        answer["cut"] = train("cut", lambda store: cut_off(store, nodes))
        answer["folders"] = {name: sorted(p.name for p in view(node, FOLDER).iterdir()) for name, node in nodes.items()}
        answer["lost"] = sorted(set(NODES) - alive())
        answer["ended"] = [name for name, node in {"head": head, **nodes}.items() if node.poll() is not None]
        seen.write_text(json.dumps(answer))
    os._exit(0)  # with it end all processes of the namespace


def make_network() -> None:
    """A bridge, which is the head's network, and a network of its own for each node."""
    commands = ["mount -t tmpfs none /run", "ip link set lo up", "ip link add eth0 type bridge"]
    commands += [f"ip addr add {HEAD}/24 dev eth0", "ip link set eth0 up"]
    for number, name in enumerate(NODES):
        commands += [
            f"ip netns add {name}",
            f"ip link add to-{name} type veth peer name eth0 netns {name}",
            f"ip link set to-{name} master eth0 up",
            f"ip -n {name} addr add {address(number)}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip -n {name} link set lo up",
        ]
    for command in commands:
        subprocess.run(command.split(), check=True)


def address(number: int) -> str:
    return f"10.77.0.{11 + number}"


@contextmanager
def object_store() -> Iterator[str]:
    """moto's server for all nodes, with an empty bucket."""
    import pyarrow.fs as pafs
    from moto.server import ThreadedMotoServer

    os.environ.update(ENVIRONMENT)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it has a line for each request
    server = ThreadedMotoServer(ip_address=HEAD, port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    store = pafs.S3FileSystem(region="us-east-1", endpoint_override=endpoint, allow_bucket_creation=True)
    store.create_dir(BUCKET)
    yield endpoint


def prepare_folder() -> None:
    """This process's own `/mnt`."""
    subprocess.run(["mount", "-t", "tmpfs", "none", str(FOLDER)], check=True)
    (FOLDER / "tmp").mkdir()
    os.environ.update(HOME=str(FOLDER), TMPDIR=str(FOLDER / "tmp"))


def ray_start(*arguments: str, inside: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    ray = [str(Path(sys.executable).with_name("ray")), "start", *arguments, "--block", "--disable-usage-stats"]
    log = (FOLDER / f"{len(list(FOLDER.glob('*.log')))}.log").open("wb")
    extra = ["--include-dashboard=false", f"--temp-dir={FOLDER / 'ray'}"] if "--head" in arguments else []
    store = ["--object-store-memory=100000000"]
    return subprocess.Popen([*inside, *ray, *extra, *store], stdout=log, stderr=subprocess.STDOUT)


def start_node(name: str, number: int) -> subprocess.Popen[bytes]:
    """`ray start` with a network and a `/mnt` of its own."""
    own = f'mount -t tmpfs none {FOLDER} && mkdir {FOLDER}/tmp && cd {FOLDER} && exec "$@"'
    inside = ("ip", "netns", "exec", name, "unshare", "--mount", "sh", "-c", own, "sh")
    where = (f"--address={HEAD}:{HEAD_PORT}", f"--node-ip-address={address(number)}")
    return ray_start(*where, "--num-cpus=1", inside=inside)


def view(node: subprocess.Popen[bytes], path: Path) -> Path:
    """A path as a node sees it."""
    return Path(f"/proc/{node.pid}/root") / path.relative_to("/")


def wait_for_nodes(count: int = len(NODES)) -> None:
    """Until Ray has so many beside the head."""
    import ray

    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            ray.init(address="auto", log_to_driver=False, logging_level="error")
            break
        except Exception:  # the head is not there yet
            time.sleep(1)
    while sum(node["Alive"] for node in ray.nodes()) < 1 + count:
        if time.monotonic() > deadline:
            raise TimeoutError("\n".join(path.read_text()[-2000:] for path in FOLDER.glob("*.log")))
        time.sleep(0.5)


def alive() -> set[str]:
    """The nodes that Ray has."""
    import ray

    addresses = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    return {name for number, name in enumerate(NODES) if address(number) in addresses}


def from_clips() -> dict[str, Any]:
    """Alignment and features of clips whose media only this machine has, by nodes and by this process alone."""
    from components.alignment import stage as alignment
    from components.features import stage as features
    from pipelines.stages import call_stage
    from tests.alignment.media import draw_face, tone, wav, write_clip
    from tests.alignment.test_stage import clip_of, put

    layouts = [Layout(FOLDER / name) for name in ("alone", "apart")]
    store = f"s3://{BUCKET}/clips"
    counts = []
    for layout, runtime in zip(layouts, ({}, {"store": store}), strict=True):
        media = layout.root / "media"
        media.mkdir(parents=True)
        clips = [
            clip_of(layout.root, wav(media / f"{k}.wav", tone(0.5, 16_000, hz=200 + 10 * k)), transcript="so it is")
            for k in range(6)
        ]
        film = write_clip(media / "face.mp4", pictures=[draw_face()] * 13, sound=tone(0.5))
        broken = media / "broken.mp4"
        broken.write_text("no media\n" * 20)
        put(layout, [*clips, clip_of(layout.root, film), clip_of(layout.root, broken)])
        alignment.IN_PROCESS_CLIPS = features.IN_PROCESS_CLIPS = 0 if runtime else 1_000
        params = Params.model_validate(
            {
                "alignment": {"face": {"detector": "whole_frame"}, "voice": {"activity": "energy"}},
                "features": {
                    "encoders": {"face": "hog", "voice": "signal", "text": "hashing"},
                    "batch_clips": 2,
                    "actors": 2,
                },
                "runtime": runtime,
            }
        )
        aligned = call_stage("alignment", params, layout, TINY)
        encoded = call_stage("features", params, layout, TINY)["encoded"]
        counts.append([aligned["aligned"], aligned["quarantined_by_code"], encoded])
    return {
        "counts": counts,
        "hashes": [[tree_sha256(layout.aligned(TINY)), tree_sha256(layout.features(TINY))] for layout in layouts],
        "left": [item.name for item in remote.listing(remote.place_of(store, where="store"))],
    }


def train(
    name: str,
    meanwhile: Callable[[str], dict[str, Any]] | None = None,
    *,
    epochs: int = EPOCHS,
    model: Mapping[str, float] = MODEL,
    **runtime: int,
) -> dict[str, Any]:
    """The stage on a project of its own; `meanwhile` runs beside it, with the address of its store."""
    from pipelines.stages import call_stage

    layout = Layout(FOLDER / name)
    write_catalog(layout, TOY)
    store = f"s3://{BUCKET}/{name}"
    params = Params.model_validate(
        {
            "datasets": ["toy"],
            "model": dict(model),
            "train": {"epochs": epochs, "batch_clips": BATCH, "refit": False},
            "runtime": {"workers": WORKERS, "checkpoint_steps": 1, "store": store, **runtime},
            "tracking": {"uri": f"sqlite:///{FOLDER / name}.db", "experiment": name},
        }
    )
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        beside = None if meanwhile is None else pool.submit(meanwhile, store)
        summary = call_stage("train", params, layout)
        cut = {} if beside is None else beside.result()
    history = json.loads((layout.trained / "history.json").read_text())
    left = [item.name for item in remote.listing(remote.place_of(store, where="store"))]
    return {
        "model_sha256": summary["model_sha256"],
        "weights": str(layout.trained / WEIGHTS),
        "history": history,
        "seconds": time.monotonic() - started,
        "cut": cut,
        "left": left,
        "state": sorted(path.name for path in layout.state.iterdir()),
    }


def cut_off(store: str, nodes: dict[str, subprocess.Popen[bytes]]) -> dict[str, Any]:
    """Takes the link of the node that writes the checkpoints down, between two epochs' ends; its name, the samples that
    the store has had by then, the seconds until it has more, and the node that writes them then."""
    while (samples := samples_copied(store)) < CUT_AFTER * TOY.clips or samples % TOY.clips == 0:
        time.sleep(0.05)
    first = next(name for name, node in nodes.items() if writes_checkpoints(node))
    subprocess.run(["ip", "link", "set", f"to-{first}", "down"], check=True)
    at = time.monotonic()
    time.sleep(IN_FLIGHT_S)
    samples = samples_copied(store)
    while samples_copied(store) <= samples and time.monotonic() < at + PATIENCE_S:
        time.sleep(0.2)
    seconds = time.monotonic() - at
    then = [name for name, node in nodes.items() if name != first and writes_checkpoints(node)]
    return {"node": first, "samples": samples, "seconds": seconds, "then": then}


def samples_copied(store: str) -> int:
    """The samples of the newest checkpoint that the store has whole."""
    names = [item.name.split("/") for item in remote.listing(remote.place_of(f"{store}/checkpoints", where="store"))]
    return max((int(parts[1]) for parts in names if parts[2:] == [STATE]), default=0)


def writes_checkpoints(node: subprocess.Popen[bytes]) -> bool:
    """Whether the first worker of a training is on a node."""
    return bool(list(view(node, FOLDER / "tmp").glob(f"mer-node-*/{STATE_PREFIX}*/{CHECKPOINTS}")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
