"""Ids, rows taken, published splits and hit rate: equal bytes on one worker, on two, after a kill,
and on a Ray cluster of two workers of which one is killed half-way."""

import gzip
import json
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from .ray_cluster import contents, environment, needs_ray

BUILD = """
import os, sys
from pathlib import Path
from codeling.corpus.build.pipeline import build
from codeling.corpus.sources import pieces
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe

top, out, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if how == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sources = [
    {"kind": "codeparrot", "paths": f"{top}/parrot", "split": "published"},
    {"kind": "rows", "paths": f"{top}/more.jsonl.gz", "split": "test", "name": "more"},
]
words = ["import os", "import sys", "import re", "logging"]
settings = {"sources": sources, "keywords": words, "max_shared_with_train": 0.5,
            "take": {"train": 60, "validation": 10}, "exclude": []}
recipe = CorpusRecipe.model_validate(settings)
if how != "ray":
    build(recipe, out, SILENT)
    sys.exit()

from ray_cluster import two_workers
with two_workers(out) as address:
    build(recipe, out, SILENT, ray=address)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The standard library as a table of six files, two of them for validation, and another."""
    top = tmp_path_factory.mktemp("data")
    (top / "parrot").mkdir()
    library = Path(sysconfig.get_path("stdlib"))
    rows = [
        {"repo_name": path.parent.name, "path": path.relative_to(library).as_posix(),
         "content": path.read_text(encoding="utf-8", errors="replace")}
        for path in sorted(library.glob("*/*.py"))
        if path.parent.name not in {"site-packages", "test", "lib2to3"}
    ]  # fmt: skip
    lines = [json.dumps(row) + "\n" for row in rows]
    for number in range(6):
        name = f"{'train' if number < 4 else 'valid'}-{number}.jsonl.gz"
        (top / "parrot" / name).write_bytes(gzip.compress("".join(lines[number::7]).encode()))
    (top / "more.jsonl.gz").write_bytes(gzip.compress("".join(lines[6::7]).encode()))
    return top


@pytest.fixture(scope="module")
def whole(data: Path) -> dict[str, bytes]:
    """The corpus as two workers build it."""
    start(data, data / "two", "two").wait(280)
    return contents(data / "two")


def start(data: Path, out: Path, how: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", BUILD, str(data), str(out), how]
    return subprocess.Popen(command, env=environment())


@pytest.mark.proof
def test_the_numbers_are_those_of_a_plain_count(data: Path, whole: dict[str, bytes]) -> None:
    report = json.loads(whole["report.json"])
    texts = []
    for path in [*sorted((data / "parrot").iterdir()), data / "more.jsonl.gz"]:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        texts += [json.loads(line)["content"] for line in lines]
    words = ("import os", "import sys", "import re", "logging")
    hits = sum(any(word in text for word in words) for text in texts)
    assert report["keywords"]["files_searched"] == len(texts) > 400
    assert report["keywords"]["files_with_keyword"] == hits > 150
    assert [report["splits"][name]["files"] for name in ("train", "validation")] == [60, 10]
    assert report["splits"]["test"]["files"] > 10


@pytest.mark.proof
def test_one_worker_builds_the_same(data: Path, whole: dict[str, bytes]) -> None:
    assert start(data, data / "one", "one").wait(280) == 0
    assert contents(data / "one") == whole


@pytest.mark.proof
@pytest.mark.parametrize("parts", [1, 4])
def test_a_killed_build_resumes_to_the_same_corpus(
    parts: int, data: Path, whole: dict[str, bytes]
) -> None:
    out = data / f"killed-{parts}"
    process = start(data, out, "two")
    while process.poll() is None and len(list(out.glob("unfinished/survey-*.arrow"))) < parts:
        time.sleep(0.02)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert not (out / "report.json").exists()
    assert start(data, out, "two").wait(280) == 0
    assert contents(out) == whole


@pytest.mark.proof
@needs_ray
def test_a_cluster_of_two_of_which_one_is_killed_builds_the_same(
    data: Path, whole: dict[str, bytes]
) -> None:
    assert start(data, data / "ray", "ray").wait(280) == 0
    assert contents(data / "ray") == whole
