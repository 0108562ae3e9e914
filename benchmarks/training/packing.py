"""One core packs sequences with infilling as fast as an accelerator trains on them.

Packs sequences of 1,024 tokens from the standard library of the running interpreter, half of the
documents with infilling, in three ways: as in a run, where only the ends of each part are encoded
again; with every part encoded again as a whole; and without infilling. The three alternate, one
window of sequences each. The first two must give the same sequences. Prints the median tokens per
second of one core.

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
from codeling.tokenizer.substrings import Encode, SubstringEncoder
from codeling.tokenizer.tokenizer import Tokenizer

CONTEXT = 1024
WAYS = ("ends encoded", "all encoded", "no infilling")


class WholeSubstringEncoder(SubstringEncoder):
    """Encodes every substring as a separate text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._encode = tokenizer.encode

    def encoder(self, text: str, ids: NDArray[np.unsignedinteger]) -> Encode:
        """Ignore ``ids`` and encode the text."""
        return lambda begin, end: self._encode(text[begin:end])


def pack_window(
    tokens: TokenFile, tokenizer: Tokenizer, way: str
) -> tuple[float, NDArray[np.int64]]:
    """Tokens per second of processor time, and the sequences of the first window."""
    rate = 0.0 if way == "no infilling" else 0.5
    loader = Loader(tokens, tokenizer, CONTEXT, 0, Infilling(rate, 0.5, 0))
    if way == "all encoded":
        loader._substring_encoder = WholeSubstringEncoder(tokenizer)
    sequences = loader.shuffled_sequences(loader.start())
    start = time.thread_time()
    window = [sequence for sequence, _ in islice(sequences, WINDOW_SEQUENCES)]
    return WINDOW_SEQUENCES * CONTEXT / (time.thread_time() - start), np.stack(window)


def main() -> None:
    """Measure all ways and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, tokens = write_library(Path(folder))
        for _ in range(options.rounds):
            sequences = {}
            for way in WAYS:
                rate, sequences[way] = pack_window(tokens, tokenizer, way)
                rates[way].append(rate)
            assert (sequences["ends encoded"] == sequences["all encoded"]).all(), (
                "different sequences"
            )
    for way in WAYS:
        print(f"{way}: {statistics.median(rates[way]):,.0f} tokens/s")
    pairs = zip(rates["ends encoded"], rates["all encoded"], strict=True)
    print(f"ends / all encoded: {statistics.median(a / b for a, b in pairs):.2f}, same sequences")


if __name__ == "__main__":
    main()
