"""Claim: the data-science slice is picked at least 4 times as fast as with `datasets`.

Both ways pick, from the same Parquet files in codeparrot's columns, the rows whose content holds
one of the words pandas, sklearn, matplotlib, seaborn. Theirs is the Hugging Face course's
(chapter 7.6): `datasets` streaming, `any(word in content)`. Ours is how `codeling corpus` reads
such files where the recipe has keywords, in as many processes as there are cores. They alternate
in one run, and have to pick the same rows. Beside them stand pyarrow's decompression of the
column alone with as many threads; the whole first pass of `codeling corpus` over the same files,
which also filters, labels and hashes what was picked; and the rate that the course shows, 610
files/s (gzipped JSON from the network, on another machine: of interest, no comparison).

The files are made once, in the folder given by --data: the installed Python over and over, each
time with other names, until there is a gigabyte of text. Of the files with one of the words so
many are taken that they are about one in thirty, as in codeparrot (the course keeps 3.26 %).

Run:  pip install 'codeling[bench]';  python -m benchmarks.corpus.filter --data /tmp/slice
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codeling.cores import usable_cores
from codeling.corpus.build.executor import ENVIRONMENT, Executor
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.readers.partition import read_partition
from codeling.corpus.sources.partitions import Partition, make_partitions
from codeling.corpus.sources.pieces import split_shard
from codeling.corpus.sources.shards import list_local_shards
from codeling.recipe import CodeParrot, CorpusRecipe

KEYWORDS = ("pandas", "sklearn", "matplotlib", "seaborn")
PUBLISHED_RATE = 610
SHARE = 0.0326
COLUMNS = ("repo_name", "path", "copies", "size", "content", "license")
_CALLED = re.compile(r"\b(\w{4,})(?=\()")
_ROW_GROUP = 1_000


def make(folder: Path, num_bytes: int, compression: str) -> list[Path]:
    """The Parquet files, made where they are not there yet."""
    done = folder / f"{compression}-{num_bytes}.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        source = list(_installed())
        names: list[str] = []
        total = 0
        while total < num_bytes:
            name = f"{compression}-{num_bytes}-{len(names):03d}.parquet"
            total += _write(folder / name, source, len(names), compression)
            names.append(name)
            print(f"made {name}: {total / 1e9:.2f} GB of text so far", file=sys.stderr)
        done.write_text(json.dumps(names), encoding="utf-8")
    return [folder / name for name in json.loads(done.read_bytes())]


def _installed() -> Iterator[tuple[str, str]]:
    """(path, text) of the installed Python, the files of the slice thinned, in a mixed order."""
    found = []
    for kind in ("stdlib", "purelib"):
        root = Path(sysconfig.get_paths()[kind])
        for path in root.rglob("*.py"):
            if kind == "purelib" or "site-packages" not in path.parts:
                try:
                    text = path.read_text(encoding="utf-8")
                except (OSError, ValueError):
                    continue
                if len(text) <= 1_000_000:
                    found.append((path.relative_to(root).as_posix(), text))
    found.sort(key=lambda file: hashlib.sha256(file[0].encode()).digest())
    of_slice = [any(word in text for word in KEYWORDS) for _, text in found]
    rest = len(found) - sum(of_slice)
    kept = min(1.0, rest * SHARE / (1 - SHARE) / sum(of_slice))  # of the slice, spread evenly
    seen = 0
    for file, is_of_slice in zip(found, of_slice, strict=True):
        seen += is_of_slice
        if not is_of_slice or int(seen * kept) > int((seen - 1) * kept):
            yield file


def _write(path: Path, source: Sequence[tuple[str, str]], number: int, compression: str) -> int:
    """One file of rows whose called names end in ``number``; the bytes of its texts."""
    schema, total = pa.schema([(name, pa.string()) for name in COLUMNS]), 0
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, schema, compression=compression) as writer:
        for start in range(0, len(source), _ROW_GROUP):
            run = source[start : start + _ROW_GROUP]
            texts = [_CALLED.sub(rf"\1_{number}", text) for _, text in run]
            sizes = [len(text.encode()) for text in texts]
            total += sum(sizes)
            columns = {
                "repo_name": [f"copy{number}/{name.partition('/')[0]}" for name, _ in run],
                "path": [name for name, _ in run],
                "copies": ["1"] * len(run),
                "size": list(map(str, sizes)),
                "content": texts,
                "license": ["mit"] * len(run),
            }
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
    partial.replace(path)
    return total


def published(paths: Sequence[Path]) -> set[tuple[str, str]]:
    """The course's ``filter_streaming_dataset``; (repository, path) of the rows it keeps."""
    from datasets import load_dataset

    stream = load_dataset(
        "parquet", data_files=[str(path) for path in paths], split="train", streaming=True
    )
    filtered: dict[str, list[Any]] = defaultdict(list)
    for sample in stream:
        if any(word in sample["content"] for word in KEYWORDS):
            for key, value in sample.items():
                filtered[key].append(value)
    return set(zip(filtered["repo_name"], filtered["path"], strict=True))


class Ours:
    """The corpus's reading of the files, cut as it cuts them, in warm worker processes."""

    def __init__(self, paths: Sequence[Path], workers: int) -> None:
        source = CodeParrot(kind="codeparrot", paths=tuple(map(str, paths)))
        self.recipe = CorpusRecipe(sources=(source,), keywords=KEYWORDS)
        shards = list_local_shards(0, source.paths)
        self.partitions = make_partitions([], [(shard, split_shard(shard)) for shard in shards])
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"))

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def __call__(self) -> set[tuple[str, str]]:
        """(repository, path) of the rows that are of the slice, their texts made."""
        tasks = [partition.to_json() for partition in self.partitions]
        settings = self.recipe.model_dump_json()
        return {row for rows in self._pool.map(picked, tasks, repeat(settings)) for row in rows}


def picked(task: str, settings: str) -> list[tuple[str, str]]:
    """One partition's share of :class:`Ours`, in a worker."""
    recipe = CorpusRecipe.model_validate_json(settings)
    documents = read_partition(Partition.from_json(task), recipe)
    return [(each.repository, each.path) for each in documents if each.reason is None]


def survey(ours: Ours, folder: Path, executor: Executor) -> None:
    """All that `codeling corpus` does in its first pass: also filters, label and digest."""
    problem_sets.save([], folder / "problems.json")
    settings = {"recipe": ours.recipe.model_dump(mode="json"), "folder": str(folder)}
    tasks = [partition.to_json() for partition in ours.partitions]
    num_bytes = sum(partition.num_bytes for partition in ours.partitions)
    for _ in executor.map("survey", tasks, json.dumps(settings), num_bytes):
        pass


def decompress(paths: Sequence[Path], threads: int) -> int:
    """The floor: every row's content read and let go; the number of rows."""

    def read(path: Path) -> int:
        with pq.ParquetFile(path) as file:
            batches = file.iter_batches(256, columns=["content"], use_threads=False)
            return sum(batch.num_rows for batch in batches)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(read, paths))


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Make the files, compare the rows, measure, print one line a way and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder to make the files in")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of text (default 1)")
    parser.add_argument("--compression", choices=("zstd", "snappy"), default="snappy")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default 5)")
    arguments = parser.parse_args()
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
        **ENVIRONMENT,  # ours in worker processes, as the executor starts them
    )
    num_bytes = int(arguments.gigabytes * 1e9)
    paths = make(arguments.data.resolve(), num_bytes, arguments.compression)
    cores = usable_cores()
    number = decompress(paths, cores)
    with (
        Ours(paths, cores) as ours,
        tempfile.TemporaryDirectory() as folder,
        Executor() as executor,
    ):
        OptOut.read(None).save(Path(folder) / "opt-out.json")
        kept, theirs = ours(), published(paths)
        assert kept == theirs, "both ways keep the same rows"
        print(
            f"{number:,} files in {len(paths)} {arguments.compression} Parquet files; both ways "
            f"keep the same {len(kept):,} ({len(kept) / number:.2%}); {cores} cores"
        )
        ways: dict[str, Callable[[], object]] = {
            "codeling": ours,
            "datasets": lambda: published(paths),
            "decompression alone": lambda: decompress(paths, cores),
            "codeling's whole first pass": lambda: survey(ours, Path(folder), executor),
        }
        times = [
            {name: seconds(way) for name, way in ways.items()} for _ in range(arguments.rounds)
        ]
    for name in ways:
        median = statistics.median(round_[name] for round_ in times)
        print(f"{name}: {number / median:,.0f} files/s ({median:.2f} s)")
    print(f"as published for datasets: {PUBLISHED_RATE} files/s, another machine, by network")
    for name in list(ways)[1:3]:
        ratio = statistics.median(round_[name] / round_["codeling"] for round_ in times)
        print(f"codeling is {ratio:.2f} times as fast as {name}")


if __name__ == "__main__":
    main()
