"""A Ray cluster of two workers on this machine, of which one may be killed half-way.

The proofs' scripts import this module; they run in processes of their own, which Ray takes over.
"""

import importlib.util
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: codeling[ray]"
)


def environment() -> dict[str, str]:
    """Environment variables of a script that imports this module."""
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    return {**os.environ, **quiet, "PYTHONPATH": str(Path(__file__).parent)}


@contextmanager
def two_workers(killed_during: Path | None) -> Iterator[str]:
    """The address of the cluster.

    One worker is killed as soon as the build in the folder ``killed_during`` has two partitions.
    """
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": 10**8, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    workers = [cluster.add_node(num_cpus=1, object_store_memory=10**8) for _ in range(2)]
    killed = threading.Event()

    def kill(folder: Path) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if len(list((folder / "unfinished").glob("survey-*.arrow"))) >= 2:
                cluster.remove_node(workers[0], allow_graceful=False)
                killed.set()
                return
            time.sleep(0.02)

    if killed_during:
        threading.Thread(target=kill, args=[killed_during], daemon=True).start()
    yield cluster.address
    assert killed.is_set() == bool(killed_during), "the worker was killed before the end"
    cluster.shutdown()


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a corpus."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
