"""Run in a process of its own: stages on a Ray cluster of one node, then of two, one of which has a (pretended) GPU.

`python -m tests.integration.nodes <folder>` writes what it saw to `<folder>/seen.json`. Ray only counts a GPU here, so
encoders that reserve one run on the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray._private.internal_api import node_stats
from ray.cluster_utils import Cluster
from transformers import Dinov2Config, Dinov2Model

from components.alignment import stage as alignment
from components.alignment.refused import Refusals
from components.contracts.config import Alignment, FaceAlignment, Features, Params, VoiceAlignment
from components.contracts.errors import MerError
from components.contracts.layout import Layout
from components.contracts.readmitted import Decisions
from components.datasets.staged import Staging
from components.features import stage as features
from components.features.encode import EncodingResult
from components.features.pools import ActorPool, encoded_in, pools
from components.features.store import FeatureStore
from components.features.work import plan, scan
from pipelines.stages import call_stage
from tests.alignment.media import draw_face, tone, wav, write_clip
from tests.alignment.test_stage import clip_of, put
from tests.trees import tree_sha256

STORE_BYTES = 80 << 20
LONG_CLIPS, LONG_S = 96, 60.0
NAME = "tiny"
PARAMS = Params(
    alignment=Alignment(face=FaceAlignment(detector="whole_frame"), voice=VoiceAlignment(activity="energy")),
    features=Features(encoders={"face": "hog", "voice": "signal", "text": "hashing"}, batch_clips=2, actors=2),
)
TOWER = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4}


def main(folder: Path) -> None:
    alignment.IN_PROCESS_CLIPS = features.IN_PROCESS_CLIPS = 0
    bare = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **bare})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    seen: dict[str, Any] = {"held_back": held_back(folder / "long")}
    seen["one"] = stages(folder / "one")
    cluster.add_node(num_cpus=1, num_gpus=1, **bare)
    cluster.wait_for_nodes()
    seen["two"] = stages(folder / "two")
    seen["pools"] = gpu_pool(Layout(folder / "two"), folder / "checkpoint")
    (folder / "seen.json").write_text(json.dumps(seen))
    ray.shutdown()
    cluster.shutdown()


def held_back(root: Path) -> dict[str, Any]:
    """Aligns far more than the object store holds, for a reader that takes one clip and then none for a while."""
    layout = Layout(root)
    (root / "media").mkdir(parents=True)
    sound = wav(root / "media" / "long.wav", tone(LONG_S, 16_000))
    clips = [replace(clip_of(root, sound), clip_id=f"{NAME}/{k:03d}") for k in range(LONG_CLIPS)]
    refusals = Refusals(layout.aligned(NAME), PARAMS.alignment, Decisions())
    place = staging(root / "partial")
    results = alignment._in_ray(
        clips, root, alignment=PARAMS.alignment, resources=PARAMS.ray, staging=place, refusals=refusals
    )
    first = next(results)
    peak, last, same = 0, -1, 0
    while same < 4:  # until nothing moves any more
        time.sleep(1.0)
        used = sum(store.object_store_bytes_used for store in stores())
        peak, same, last = max(peak, used), same + 1 if used == last else 0, used
    ids = {first.clip_id, *(result.clip_id for result in results)}
    return {
        "clips": len(ids),
        "row_bytes": len(ids) * int(LONG_S * 16_000 * 2),
        "peak_bytes": peak,
        "spilled_bytes": sum(store.spilled_bytes_total for store in stores()),
        "on_disk_bytes": sum(path.stat().st_size for path in place.folder.iterdir()),
    }


def stores() -> Iterator[Any]:
    """The counters of each node's object store."""
    for node in ray.nodes():
        if node["Alive"]:
            yield node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], False).store_stats


def stages(root: Path) -> dict[str, Any]:
    """Both stages on eight clips: hashes of their outputs, and on how many nodes their actors ran."""
    layout = Layout(root)
    (root / "media").mkdir(parents=True)
    clips = [
        clip_of(root, wav(root / "media" / f"{k}.wav", tone(0.5, 16_000, hz=200 + 10 * k)), transcript="so it is")
        for k in range(6)
    ]
    clips += [
        clip_of(root, write_clip(root / "media" / f"face{k}.mp4", pictures=[draw_face()] * (13 + k), sound=tone(0.5)))
        for k in range(2)
    ]
    put(layout, clips)
    before = set(actors())
    counts = [
        call_stage("alignment", PARAMS, layout, NAME)["aligned"],
        sum(call_stage("features", PARAMS, layout, NAME)["encoded"].values()),
    ]
    return {
        "counts": counts,
        "hashes": [tree_sha256(layout.aligned(NAME)), tree_sha256(layout.features(NAME))],
        "nodes": {name: len(set(places_of(name, before))) for name in ("AlignBatch", "ShardEncoder")},
    }


def places_of(name: str, before: set[str]) -> list[str]:
    """The node of each actor of that class that was not there before."""
    new = (actor for key, actor in actors().items() if key not in before)
    return [actor["Address"]["NodeID"] for actor in new if name in actor["ActorClassName"]]


def actors() -> dict[str, Any]:
    """Every actor that Ray knows of, by id."""
    from ray._private.state import actors as table

    return dict(table())


def gpu_pool(layout: Layout, folder: Path) -> dict[str, Any]:
    """Faces through a checkpoint on a reserved GPU while hog needs none."""
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**TOWER, image_size=30, patch_size=6)).save_pretrained(folder)
    specs = {"voice": "signal", "face": f"transformers:{folder}"}
    planned = pools(specs, PARAMS.features.actors, "cuda")
    clips = scan(layout.aligned(NAME))
    tasks = plan(clips, {name: name for name in specs}, {}, max_clips=2)
    first, second = planned
    pretended = replace(second, device="cpu")
    alone = ActorPool(specs=specs, device="cpu", actors=1, num_cpus=1.0, num_gpus=0.0)
    before = set(actors())
    together, apart = staging(folder / "together"), staging(folder / "apart")
    results = list(encoded_in(tasks, (first, pretended), 2, apart))
    gpu_nodes = {node["NodeID"] for node in ray.nodes() if node["Resources"].get("GPU")}
    expected = list(encoded_in(tasks, (alone,), 2, together))
    same = values(results, apart) == values(expected, together)
    return {
        "planned": [[sorted(pool.specs), pool.device, pool.actors, pool.num_cpus, pool.num_gpus] for pool in planned],
        "on_gpu_node": [place in gpu_nodes for place in places_of("ClipEncoder", before)],
        "results": sorted([r.clip_id, r.modality] for r in results),
        "same": same,
        "without_a_device": without_a_device(layout, specs),
    }


def staging(folder: Path) -> Staging:
    made = Staging.of(folder, store=None, stage=features.STAGE, name=NAME)
    made.prepare()
    return made


def values(receipts: list[EncodingResult], place: Staging) -> set[tuple[str, bytes]]:
    """The key and features of each receipt."""
    store = FeatureStore(place.folder)
    return {(r.key, store.read(r.modality, [r.key])[r.key].values.tobytes()) for r in receipts}


def without_a_device(layout: Layout, specs: dict[str, str]) -> str:
    """What the stage says where Ray counts a GPU that torch does not find."""
    asked = PARAMS.model_copy(update={"features": Features(encoders=specs, device="cuda")})
    try:
        call_stage("features", asked, layout, NAME)
    except MerError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
