"""Claim: a vocabulary is learned from 10 GB of text in less than 4 GB of memory.

Takes the Python of this interpreter's packages and gives it out again and again, each time with
other identifiers (a part of the names is changed by what pass it is), so that new words keep
coming, as they do in a corpus of that size. Prints how far it is, the time, and the peak of this
process's memory. --shuffle and --threads make the same vocabulary: its SHA-256 is printed too.

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

LIMIT = 4e9
"""Bytes of memory."""
_NAME = re.compile(r"[A-Za-z]{5,}")


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--vocab-size", type=int, default=32_768)
    parser.add_argument("--changed", type=float, default=0.1, help="share of names changed")
    parser.add_argument("--shuffle", type=int, help="seed of another order of the documents")
    parser.add_argument("--threads", type=int, help="of the tokenizers library")
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_paths()["purelib"]))
    return parser.parse_args()


def documents(asked: argparse.Namespace) -> Iterator[str]:
    """Files, pass after pass; a file's text depends on its name and the pass alone."""
    paths = sorted(asked.folder.rglob("*.py"))
    left = asked.gigabytes * 1e9
    number = 0
    order = []
    while left > 0:  # sizes first, so that another order has the same documents
        for path in paths:
            left -= path.stat().st_size
            order.append((path, number))
            if left <= 0:
                break
        number += 1
    if asked.shuffle is not None:
        random.Random(asked.shuffle).shuffle(order)
    for path, turn in order:
        text = path.read_text(encoding="utf-8", errors="ignore")
        yield renamed(text, f"{path} {turn}", asked.changed) if turn else text


def renamed(text: str, place: str, share: float) -> str:
    """Some names of a text turned into others, the same one alike throughout."""
    letters = str.maketrans("0123456789", "ghijklmnop")
    suffix = hashlib.sha256(place.encode()).hexdigest().translate(letters)

    def other(match: re.Match[str]) -> str:
        name = match[0]
        drawn = hashlib.blake2b(f"{place} {name}".encode(), digest_size=4).digest()
        if int.from_bytes(drawn, "little") >= share * 2**32:
            return name
        return name[:-2] + suffix[: 2 + drawn[0] % 4]

    return _NAME.sub(other, text)


def peak() -> float:
    """Bytes of memory at the height of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage * (1 if sys.platform == "darwin" else 1024)


class Bars:
    """Prints now and then how far it is."""

    def task(self, label: str, total: int | None = None, unit: str = "items") -> "Bars":
        """One bar; see codeling.progress."""
        self.label, self.unit, self.amount, self.said = label, unit, 0, time.monotonic()
        return self

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *reason: object) -> None:
        self.say()

    def __call__(self, amount: int, detail: str = "") -> None:
        """So much more is done."""
        self.amount += amount
        if time.monotonic() - self.said > 30:
            self.say()

    def say(self) -> None:
        """The line."""
        self.said = time.monotonic()
        print(f"{self.label}: {self.amount:,} {self.unit}, peak {peak() / 1e9:.2f} GB", flush=True)

    def note(self, line: str) -> None:
        """A line that stays."""
        print(line, flush=True)


def main() -> int:
    """Learn, and say what it took."""
    asked = options()
    if asked.threads:
        os.environ["RAYON_NUM_THREADS"] = str(asked.threads)

    from codeling.recipe import TokenizerRecipe
    from codeling.tokenizer.train import train

    size = int(asked.gigabytes * 1e9)
    recipe = TokenizerRecipe(
        vocab_size=asked.vocab_size, max_training_bytes=2 * size, max_document_bytes=1_000_000
    )
    began = time.perf_counter()
    tokenizer = train(documents(asked), recipe, Bars(), total_bytes=size)
    seconds = time.perf_counter() - began
    sha256 = hashlib.sha256(tokenizer.to_json().encode()).hexdigest()
    print(f"{asked.gigabytes} GB, {tokenizer.vocab_size:,} entries, {seconds:.0f} s, {sha256}")
    print(f"peak {peak() / 1e9:.2f} GB; the limit is {LIMIT / 1e9:.0f} GB")
    return 0 if peak() < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
