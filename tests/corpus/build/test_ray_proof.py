"""The corpus on a Ray cluster of two workers is the native one, one of them killed half-way."""

import subprocess
import sys
from pathlib import Path

import pytest

from .ray_cluster import contents, environment, needs_ray

SCRIPT = """
import sys, sysconfig
from pathlib import Path
from ray_cluster import two_workers
from codeling.corpus.sources import partitions
from codeling.corpus.build.pipeline import build
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe

top = Path(sys.argv[1])
partitions.RUN_BYTES = 400_000
library = sysconfig.get_path("stdlib")
names = ("asyncio", "email", "json", "http", "logging", "unittest", "xml", "multiprocessing")
sources = [{"kind": "folder", "path": f"{library}/{name}"} for name in names]
recipe = CorpusRecipe.model_validate({"sources": sources, "exclude": []})
build(recipe, top / "native", SILENT)
with two_workers(top / "ray" if sys.argv[2] == "kill" else None) as address:
    build(recipe, top / "ray", SILENT, ray=address)
"""


@pytest.mark.proof
@needs_ray
@pytest.mark.parametrize("end", ["whole", "kill"])
def test_a_cluster_of_two_builds_the_same_corpus(end: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), end],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    native = contents(tmp_path / "native")
    assert len(native) == 7
    assert contents(tmp_path / "ray") == native
