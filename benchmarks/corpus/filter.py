"""The data-science slice is selected at least 4 times as fast as with `datasets`.

Both ways select, from the same Parquet files in codeparrot's columns, the rows whose content
contains one of the words pandas, sklearn, matplotlib, seaborn. Theirs is the code of the Hugging
Face course (chapter 7.6): `datasets` in streaming mode with `any(word in content)`. Ours is how
`codeling corpus` reads such files for a recipe with keywords, with one process per core. They
alternate, and must select the same rows. For comparison the benchmark also measures

- pyarrow's decompression of the column in the same processes (the upper bound),
- the whole first pass of `codeling corpus`, which also filters, labels, and hashes the rows,

and prints the rate that the course reports, 610 files/s (gzipped JSON over the network, on another
machine).

The input is written once, into the folder ``--data``: the installed Python, repeated with other
names, up to one gigabyte of text. One file in thirty contains a keyword, as in codeparrot (the
course keeps 3.26 %).

    pip install 'codeling[bench]'
    python -m benchmarks.corpus.filter --data /tmp/slice
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
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.timing import seconds
from codeling.cores import usable_cores
from codeling.corpus.build.executor import ENVIRONMENT, Executor
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.readers.columnar import read_batches
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
    """The Parquet files; missing ones are written."""
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
            print(f"wrote {name}: {total / 1e9:.2f} GB of text in total", file=sys.stderr)
        done.write_text(json.dumps(names), encoding="utf-8")
    return [folder / name for name in json.loads(done.read_bytes())]


def _installed() -> Iterator[tuple[str, str]]:
    """(path, text) of the installed Python, shuffled, with SHARE of the files in the slice."""
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
    in_slice = [any(word in text for word in KEYWORDS) for _, text in found]
    rest = len(found) - sum(in_slice)
    kept = min(1.0, rest * SHARE / (1 - SHARE) / sum(in_slice))  # share of the slice's files
    seen = 0
    for file, is_in_slice in zip(found, in_slice, strict=True):
        seen += is_in_slice
        if not is_in_slice or int(seen * kept) > int((seen - 1) * kept):
            yield file


def _write(path: Path, source: Sequence[tuple[str, str]], number: int, compression: str) -> int:
    """Write one file whose called names end in ``number``; return the bytes of its texts."""
    schema, total = pa.schema([(name, pa.string()) for name in COLUMNS]), 0
    partial = path.with_suffix(".partial")
    with pq.ParquetWriter(partial, schema, compression=compression) as writer:
        for start in range(0, len(source), _ROW_GROUP):
            group = source[start : start + _ROW_GROUP]
            texts = [_CALLED.sub(rf"\1_{number}", text) for _, text in group]
            sizes = [len(text.encode()) for text in texts]
            total += sum(sizes)
            columns = {
                "repo_name": [f"copy{number}/{name.partition('/')[0]}" for name, _ in group],
                "path": [name for name, _ in group],
                "copies": ["1"] * len(group),
                "size": list(map(str, sizes)),
                "content": texts,
                "license": ["mit"] * len(group),
            }
            writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
    partial.replace(path)
    return total


def course_filter(paths: Sequence[Path]) -> set[tuple[str, str]]:
    """The course's ``filter_streaming_dataset``; (repository, path) of the selected rows."""
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
    """The reader of the corpus, with its partitions, in running worker processes."""

    def __init__(self, paths: Sequence[Path], workers: int) -> None:
        source = CodeParrot(kind="codeparrot", paths=tuple(map(str, paths)))
        self.recipe = CorpusRecipe(sources=(source,), keywords=KEYWORDS)
        shards = list_local_shards(0, source.paths)
        self.partitions = make_partitions([], [(shard, split_shard(shard)) for shard in shards])
        self._tasks = [partition.to_json() for partition in self.partitions]
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"))

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()

    def __call__(self) -> set[tuple[str, str]]:
        """(repository, path) of the selected rows; their texts are decoded too."""
        settings = self.recipe.model_dump_json()
        selected = self._pool.map(select, self._tasks, repeat(settings))
        return {row for rows in selected for row in rows}

    def decompress(self) -> int:
        """Decompress the content of all rows; return their number."""
        return sum(self._pool.map(decompress, self._tasks))


def select(task: str, settings: str) -> list[tuple[str, str]]:
    """(repository, path) of the selected rows of one partition, in a worker."""
    recipe = CorpusRecipe.model_validate_json(settings)
    documents = read_partition(Partition.from_json(task), recipe)
    return [(each.repository, each.path) for each in documents if each.reason is None]


def survey(ours: Ours, folder: Path, executor: Executor) -> None:
    """The whole first pass of `codeling corpus`."""
    problem_sets.save([], folder / "problems.json")
    settings = {"recipe": ours.recipe.model_dump(mode="json"), "folder": str(folder)}
    tasks = [partition.to_json() for partition in ours.partitions]
    num_bytes = sum(partition.num_bytes for partition in ours.partitions)
    for _ in executor.map("survey", tasks, json.dumps(settings), num_bytes):
        pass


def decompress(task: str) -> int:
    """Decompress the content of the rows of one partition, in a worker; return their number."""
    partition = Partition.from_json(task)
    assert partition.shard is not None
    assert partition.piece is not None
    batches = read_batches(partition.shard, partition.piece, ["content"], 1_000)
    return sum(batch.num_rows for batch in batches)


def main() -> None:
    """Write the input, compare the rows, and measure all ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the input")
    parser.add_argument(
        "--gigabytes", type=float, default=1.0, help="text in the input (default: 1)"
    )
    parser.add_argument(
        "--compression",
        choices=("zstd", "snappy"),
        default="snappy",
        help="of the input (default: snappy)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    options = parser.parse_args()
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
        **ENVIRONMENT,  # worker processes as the executor starts them
    )
    num_bytes = int(options.gigabytes * 1e9)
    paths = make(options.data.resolve(), num_bytes, options.compression)
    cores = usable_cores()
    with (
        Ours(paths, cores) as ours,
        tempfile.TemporaryDirectory() as folder,
        Executor() as executor,
    ):
        OptOut.read(None).save(Path(folder) / "opt-out.json")
        number, kept, theirs = ours.decompress(), ours(), course_filter(paths)
        assert kept == theirs, "both ways select the same rows"
        print(
            f"{number:,} files in {len(paths)} {options.compression} Parquet files; both ways "
            f"select the same {len(kept):,} ({len(kept) / number:.2%}); {cores} cores"
        )
        ways: dict[str, Callable[[], object]] = {
            "codeling": ours,
            "datasets": lambda: course_filter(paths),
            "decompression alone": ours.decompress,
            "codeling's whole first pass": lambda: survey(ours, Path(folder), executor),
        }
        times = [{name: seconds(way) for name, way in ways.items()} for _ in range(options.rounds)]
    for name in ways:
        median = statistics.median(round_[name] for round_ in times)
        print(f"{name}: {number / median:,.0f} files/s ({median:.2f} s)")
    print(f"reported by the course: {PUBLISHED_RATE} files/s, other machine, over the network")
    for name in ("codeling", "decompression alone"):
        ratio = statistics.median(round_["datasets"] / round_[name] for round_ in times)
        print(f"{name} is {ratio:.2f} times as fast as datasets")


if __name__ == "__main__":
    main()
