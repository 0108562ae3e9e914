"""The corpus table of a corpus of any size is counted in the same memory.

    python -m benchmarks.memory.counting runs/demo --tokens 50_000_000 500_000_000 --megabytes 200

Writes ids first: those of a run's train split, again and again, each time with 5 % of them replaced
at random, so that new n-grams keep coming. Then builds the table of each size in a separate process
with buckets for a memory of about ``--megabytes``, and samples its memory a hundred times per
second: what it allocated (RssAnon), without the pages of mapped files, which the kernel can take
back. ``per token`` is time of the clock and of the processor.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from codeling.dataset.tokens import open_tokens
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer

SHARE_REPLACED = 0.05
BYTES_PER_KEY = 32
"""Memory for each key of a bucket that is being sorted: the key, and three times that for work."""

BUILD = """
import json, sys
from pathlib import Path
import numpy as np
from codeling.memory.corpus_table.counting import CorpusTokens
from codeling.memory.corpus_table.table_builder import build
folder, vocab_size, boundary, entries, workers, keys = Path(sys.argv[1]), *map(int, sys.argv[2:])
ids = np.memmap(folder / "ids.bin", "<u2", mode="r")
offsets = np.memmap(folder / "offsets.bin", "<i8", mode="r")
tokens = CorpusTokens(ids, offsets, vocab_size, boundary)
table = build(tokens, folder / "table.safetensors", entries, "", workers, bucket_keys=keys)
print(table.num_entries)
"""


def write_ids(run: RunFolder, folder: Path, num_tokens: int, vocab_size: int) -> None:
    """Write about ``num_tokens`` ids, and the offsets of their documents."""
    train = open_tokens(run.path / "tokens" / "train.bin")
    random = np.random.default_rng(0)
    offsets, total = [np.zeros(1, np.int64)], 0
    with (folder / "ids.bin").open("wb") as file:
        while total < num_tokens:
            ids = np.array(train.ids)
            changed = random.random(len(ids)) < SHARE_REPLACED
            ids[changed] = random.integers(1, vocab_size, changed.sum())
            file.write(ids.astype("<u2").data)
            offsets.append(np.asarray(train.offsets[1:], np.int64) + total)
            total += len(ids)
    np.concatenate(offsets).astype("<i8").tofile(folder / "offsets.bin")


def allocated_mb(process_id: int) -> float:
    """Memory that a process allocated, in MB."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(command: list[str]) -> dict[str, float]:
    """Run a command: seconds, processor seconds, and the largest memory."""
    begin, peak = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        used = 0.0
        while process.poll() is None:
            peak = max(peak, allocated_mb(process.pid))
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            used = (int(fields[11]) + int(fields[12])) / 100
            time.sleep(0.01)
        assert process.stdout is not None
        entries = int(process.stdout.read())
    if process.returncode:
        raise SystemExit(process.returncode)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "processor_seconds": used, "peak_mb": peak, "entries": entries}


def main() -> None:
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder with tokens")
    parser.add_argument("--tokens", type=int, nargs="+", default=[50_000_000, 500_000_000])
    parser.add_argument("--megabytes", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--entries", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary one)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    run = RunFolder(options.run)
    tokenizer = Tokenizer.load(run.tokenizer)
    keys = (options.megabytes << 20) // (BYTES_PER_KEY * options.workers)
    rows = []
    for num_tokens in options.tokens:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            write_ids(run, Path(name), num_tokens, tokenizer.vocab_size)
            size = (Path(name) / "ids.bin").stat().st_size
            given = tokenizer.vocab_size, tokenizer.end_of_text, options.entries, options.workers
            command = [sys.executable, "-c", BUILD, name, *map(str, given), str(keys)]
            row = {"tokens": size // 2, "megabytes_of_ids": size / 1e6, **measure(command)}
        rows.append(row)
        if not options.json:
            per_token = [row[key] / row["tokens"] * 1e9 for key in ("seconds", "processor_seconds")]
            print(
                f"{row['tokens']:>13,} tokens ({row['megabytes_of_ids']:,.0f} MB)  "
                f"peak {row['peak_mb']:,.0f} MB  {row['seconds']:,.1f} s  "
                f"per token {per_token[0]:,.0f} and {per_token[1]:,.0f} ns"
            )
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
