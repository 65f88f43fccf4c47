"""A program: two nodes of Ray on loopback, with a token, until SIGTERM. `python -m pipelines.stack.ray_nodes`.

`ray start` would do on two machines. On one, a driver takes 127.0.0.1 for the machine's own address, on which nothing
should listen; the switch that keeps Ray on loopback makes `ray start` refuse a second node, which this class does not.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

STORE_BYTES = 200 << 20


def main() -> None:
    """Starts both nodes, says so in one line, and waits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--metrics-ports", type=int, nargs=2, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    from ray.cluster_utils import Cluster  # reads the environment

    node = {
        "num_cpus": 2,
        "object_store_memory": STORE_BYTES,
        "temp_dir": str(given.folder),
        "include_log_monitor": False,
    }
    first, second = given.metrics_ports
    head = {**node, "gcs_server_port": given.port, "include_dashboard": False, "metrics_export_port": first}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(**node, metrics_export_port=second)
        print("two nodes", flush=True)
        stop.wait()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
