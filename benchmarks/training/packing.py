"""Claim: one core packs rows with infilling as fast as an accelerator trains on them.

Rows of 1,024 from the running interpreter's standard library, half of the documents rearranged:
as a run packs them, with the ends of each part encoded alone; with every part encoded as a whole;
and without infilling. The three take turns, a window of rows each, and the first two must give
the same rows. Prints medians, in tokens a second of one core.

    python -m benchmarks.training.packing
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.library import write_library
from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import WINDOW_SEQUENCES, Loader
from codeling.dataset.tokens import TokenFile
from codeling.tokenizer.parts import Encode, Parts
from codeling.tokenizer.tokenizer import Tokenizer

CONTEXT = 1024
SIDES = ("ends encoded", "all encoded", "no infilling")


class Whole(Parts):
    """Encodes every part as a text of its own."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._encode = tokenizer.encode

    def of(self, text: str, ids: NDArray[np.unsignedinteger]) -> Encode:
        """Without a look at ``ids``."""
        return lambda begin, end: self._encode(text[begin:end])


def window(tokens: TokenFile, tokenizer: Tokenizer, side: str) -> tuple[float, NDArray[np.int64]]:
    """Tokens a second of this thread's processor time, and the first window's rows."""
    rate = 0.0 if side == "no infilling" else 0.5
    loader = Loader(tokens, tokenizer, CONTEXT, 0, Infilling(rate, 0.5, 0))
    if side == "all encoded":
        loader._parts = Whole(tokenizer)
    rows = loader.shuffled_sequences(loader.start())
    began = time.thread_time()
    taken = [row for row, _ in islice(rows, WINDOW_SEQUENCES)]
    return WINDOW_SEQUENCES * CONTEXT / (time.thread_time() - began), np.stack(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, tokens = write_library(Path(folder))
        for _ in range(options.rounds):
            rows = {}
            for side in SIDES:
                rate, rows[side] = window(tokens, tokenizer, side)
                rates[side].append(rate)
            assert (rows["ends encoded"] == rows["all encoded"]).all(), "other rows"
    for side in SIDES:
        print(f"{side}: {statistics.median(rates[side]):,.0f} tokens/s")
    pairs = zip(rates["ends encoded"], rates["all encoded"], strict=True)
    print(f"ends against all: {statistics.median(a / b for a, b in pairs):.2f} times, same rows")


if __name__ == "__main__":
    main()
