"""A vocabulary is learned from 10 GB of text in less than 4 GB of memory.

The text is the Python of this interpreter's packages, repeated. Each repetition changes a share of
the names, so that new words keep appearing, as in a real corpus of that size. Prints the progress,
the time, the peak memory of this process, and the SHA-256 of the tokenizer, which is the same with
any ``--shuffle`` and ``--threads``.

    python -m benchmarks.tokenizer.memory --gigabytes 10
    python -m benchmarks.tokenizer.memory --gigabytes 0.2 --shuffle 1 --threads 1
"""

import argparse
import hashlib
import os
import random
import re
import resource
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 4e9
_NAME = re.compile(r"[A-Za-z]{5,}")


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the text")
    parser.add_argument("--vocab-size", type=int, default=32_768, help="entries")
    parser.add_argument("--changed", type=float, default=0.1, help="share of names changed")
    parser.add_argument("--shuffle", type=int, help="seed of a random order of the documents")
    parser.add_argument("--threads", type=int, help="threads of the tokenizers library")
    parser.add_argument(
        "--folder", type=Path, default=Path(sysconfig.get_paths()["purelib"]),
        help="folder of Python files (default: installed packages)",
    )  # fmt: skip
    return parser.parse_args()


def documents(options: argparse.Namespace) -> Iterator[str]:
    """All files, repeated. The text of a file depends on its path and the repetition alone."""
    paths = sorted(options.folder.rglob("*.py"))
    remaining = options.gigabytes * 1e9
    repetition = 0
    order = []
    while remaining > 0:  # choose before shuffling: any order has the same documents
        for path in paths:
            remaining -= path.stat().st_size
            order.append((path, repetition))
            if remaining <= 0:
                break
        repetition += 1
    if options.shuffle is not None:
        random.Random(options.shuffle).shuffle(order)
    for path, repetition in order:
        text = path.read_text(encoding="utf-8", errors="ignore")
        yield rename(text, f"{path} {repetition}", options.changed) if repetition else text


def rename(text: str, key: str, share: float) -> str:
    """Replace a share of the names, each throughout the text; ``key`` seeds the choice."""
    letters = str.maketrans("0123456789", "ghijklmnop")
    suffix = hashlib.sha256(key.encode()).hexdigest().translate(letters)

    def replace(match: re.Match[str]) -> str:
        name = match[0]
        digest = hashlib.blake2b(f"{key} {name}".encode(), digest_size=4).digest()
        if int.from_bytes(digest, "little") >= share * 2**32:
            return name
        return name[:-2] + suffix[: 2 + digest[0] % 4]

    return _NAME.sub(replace, text)


def peak_memory() -> float:
    """Peak memory of this process in bytes."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage * (1 if sys.platform == "darwin" else 1024)


class PrintedProgress:
    """Prints the progress every 30 seconds; see ``codeling.progress``."""

    def task(self, label: str, total: int | None = None, unit: str = "items") -> "PrintedProgress":
        """Start a task."""
        self.label, self.unit, self.amount, self.last_print = label, unit, 0, time.monotonic()
        return self

    def __enter__(self) -> "PrintedProgress":
        return self

    def __exit__(self, *reason: object) -> None:
        self.show()

    def __call__(self, amount: int, detail: str = "", total: int | None = None) -> None:
        """Count ``amount`` as done."""
        self.amount += amount
        if time.monotonic() - self.last_print > 30:
            self.show()

    def show(self) -> None:
        """Print the state."""
        self.last_print = time.monotonic()
        print(
            f"{self.label}: {self.amount:,} {self.unit}, peak {peak_memory() / 1e9:.2f} GB",
            flush=True,
        )

    def note(self, line: str) -> None:
        """Print a line."""
        print(line, flush=True)


def main() -> int:
    """Learn a vocabulary, then print time and memory."""
    options = parse_options()
    if options.threads:
        os.environ["RAYON_NUM_THREADS"] = str(options.threads)

    from codeling.recipe import TokenizerRecipe
    from codeling.tokenizer.train import train

    size = int(options.gigabytes * 1e9)
    recipe = TokenizerRecipe(
        vocab_size=options.vocab_size, max_training_bytes=2 * size, max_document_bytes=1_000_000
    )
    start = time.perf_counter()
    tokenizer = train(documents(options), recipe, PrintedProgress(), total_bytes=size)
    seconds = time.perf_counter() - start
    sha256 = hashlib.sha256(tokenizer.to_json().encode()).hexdigest()
    print(f"{options.gigabytes} GB, {tokenizer.vocab_size:,} entries, {seconds:.0f} s, {sha256}")
    print(f"peak {peak_memory() / 1e9:.2f} GB; limit: {MAX_BYTES / 1e9:.0f} GB")
    return 0 if peak_memory() < MAX_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
