"""The corpus on a Ray cluster of two workers is the native one, one of them killed half-way."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, sysconfig, threading, time
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from codeling.corpus.sources import partitions
from codeling.corpus.build.pipeline import build
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe

top, kill = Path(sys.argv[1]), sys.argv[2] == "kill"
partitions.RUN_BYTES = 400_000
library = sysconfig.get_path("stdlib")
names = ("asyncio", "email", "json", "http", "logging", "unittest", "xml", "multiprocessing")
sources = [{"kind": "folder", "path": f"{library}/{name}"} for name in names]
recipe = CorpusRecipe.model_validate({"sources": sources, "exclude": []})
build(recipe, top / "native", SILENT)
head = {"num_cpus": 0, "object_store_memory": 10**8, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=head)
workers = [cluster.add_node(num_cpus=1, object_store_memory=10**8) for _ in range(2)]
killed = threading.Event()

def work():
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = list((top / "ray" / "unfinished").glob("survey-*.arrow"))
        if len(done) >= 2:
            cluster.remove_node(workers[0], allow_graceful=False)
            killed.set()
            return
        time.sleep(0.02)

if kill:
    threading.Thread(target=work, daemon=True).start()
build(recipe, top / "ray", SILENT, ray=cluster.address)
assert killed.is_set() == kill, "the worker was killed before the end"
cluster.shutdown()
"""


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.proof
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: codeling[ray]"
)
@pytest.mark.parametrize("end", ["whole", "kill"])
def test_a_cluster_of_two_builds_the_same_corpus(end: str, tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), end],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    native = contents(tmp_path / "native")
    assert len(native) == 7
    assert contents(tmp_path / "ray") == native
