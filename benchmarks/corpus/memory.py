"""Filtering, extraction, and exact deduplication of 20 GB of Python need less than 6 GB of memory.

Writes the input first: the Python of the running interpreter and its packages, as Parquet in
codeparrot's columns, repeated with other names of all functions and classes, so that nothing is
dropped as a copy. Then builds the corpus in a separate process, with the filters of
``recipes/data-science.toml`` or, with ``--all``, without filters. Ten times per second it samples
the memory of the process and its children. Prints the rate and the peak memory: the sum over the
processes (RSS, counts shared pages repeatedly) and with shared pages counted once (PSS).

    python -m benchmarks.corpus.memory --gigabytes 20 --folder /big/disk
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.process_tree import memory
from codeling.corpus.sources.files import list_files
from codeling.recipe import CorpusRecipe, read_recipe

MAX_GB = 6.0
FILTERS = Path(__file__).parents[2] / "recipes" / "data-science.toml"
SHARD_BYTES = 500_000_000
_NAME = re.compile(r"^[ \t]*(?:async )?(?:def|class) \w+", re.MULTILINE)
BUILD = """
import json, sys
from pathlib import Path
from codeling.corpus.build.pipeline import build
from codeling.progress import SILENT
from codeling.recipe import CorpusRecipe
values = json.loads(sys.argv[3])
values["sources"] = [{"kind": "codeparrot", "paths": sys.argv[1]}]
report = build(CorpusRecipe.model_validate(values), Path(sys.argv[2]), SILENT)
print(json.dumps({"totals": report["totals"], "files_dropped": report["files_dropped"]}))
"""


def rows(num_bytes: int) -> Iterator[dict[str, str]]:
    """Rows of real files with changed names, about ``num_bytes`` of text."""
    files = [f for f in list_files(CorpusRecipe()) if f.drop_reason is None]
    originals: list[tuple[dict[str, str], list[str]]] = []
    for file in files:
        with suppress(OSError, UnicodeDecodeError):
            text = Path(file.location).read_bytes().decode()
            row = {
                "repo_name": file.repository.project,
                "path": file.path,
                "copies": "1",
                "license": file.repository.license,
            }
            ends = [0, *(match.end() for match in _NAME.finditer(text)), len(text)]
            originals.append((row, [text[i:j] for i, j in pairwise(ends)]))
    total = repetition = 0
    while total < num_bytes:
        for row, pieces in originals:
            content = f"_{repetition}".join(pieces)
            total += len(content)
            repository = f"{row['repo_name']}/copy{repetition}"
            yield {**row, "repo_name": repository, "size": str(len(content)), "content": content}
            if total >= num_bytes:
                return
        repetition += 1


def write_input(folder: Path, num_bytes: int) -> int:
    """Write shards of about half a gigabyte of text; return the bytes of text in total."""
    schema = pa.schema(
        [
            (name, pa.string())
            for name in ("repo_name", "path", "copies", "size", "content", "license")
        ]
    )
    pending: list[dict[str, str]] = []
    total = shard = in_shard = 0
    writer = None
    for row in rows(num_bytes):
        pending.append(row)
        if len(pending) == 1_000:
            if writer is None:
                path = folder / f"train-{shard:05d}.parquet"
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(pa.Table.from_pylist(pending, schema))
            size = sum(len(row["content"]) for row in pending)
            total, in_shard, pending = total + size, in_shard + size, []
            if in_shard > SHARD_BYTES:
                writer.close()
                writer, shard, in_shard = None, shard + 1, 0
    if writer is not None:
        writer.close()
    return total


def main() -> None:
    """Write the input, build the corpus, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=20.0, help="text in the input")
    parser.add_argument("--folder", type=Path, help="folder that keeps input and corpus")
    parser.add_argument("--near", action="store_true", help="also drop near-duplicates")
    parser.add_argument("--all", action="store_true", help="no filters")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    shutil.rmtree(folder / "input", ignore_errors=True)
    (folder / "input").mkdir(parents=True)
    start = time.perf_counter()
    total = write_input(folder / "input", int(options.gigabytes * 1e9))
    stored = sum(path.stat().st_size for path in (folder / "input").iterdir())
    print(
        f"input      {total / 1e9:.1f} GB of text, {stored / 1e9:.1f} GB of Parquet, "
        f"written in {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", BUILD, str(folder / "input"), str(folder / "corpus")]
    recipe = CorpusRecipe() if options.all else read_recipe(FILTERS).corpus
    values = recipe.model_dump(mode="json", exclude_none=True)
    values["near_duplicates"] = {"enabled": options.near}
    command.append(json.dumps(values))
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak_rss = peak_pss = 0
    while process.poll() is None:
        rss, pss = memory(process.pid)
        peak_rss, peak_pss = max(peak_rss, rss), max(peak_pss, pss)
        time.sleep(0.1)
    seconds = time.perf_counter() - start
    assert process.stdout is not None
    report = json.loads(process.stdout.read())
    totals = report["totals"]
    print(f"found      {totals['files_found']:,} files, kept {totals['files']:,}")
    print(f"functions  {totals['functions']:,}")
    for reason, counts in report["files_dropped"].items():
        print(f"  {reason}: {counts['files']:,}")
    print(f"time       {seconds:.0f} s, {total / seconds / 1e6:.1f} MB/s of text")
    print(f"peak       {peak_rss / 1e9:.2f} GB RSS, {peak_pss / 1e9:.2f} GB PSS (limit: {MAX_GB})")
    if options.folder is None:
        shutil.rmtree(folder)
    if peak_rss > MAX_GB * 1e9:
        sys.exit(1)


if __name__ == "__main__":
    main()
