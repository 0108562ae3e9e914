"""Few entries of the vocabulary exist only as parts of longer entries.

Byte-pair encoding keeps both parts of every merge. A part that is nearly always merged further is a
stepping stone: it takes an entry and a row of the embedding, but hardly occurs in text
(Scaffold-BPE, Lian et al. 2024). Counts the entries of RUN's tokenizer in its train split. A part
counts as a stepping stone if it occurs less than a tenth as often as the median merged entry.

    python -m benchmarks.tokenizer.stepping_stones runs/demo
"""

import argparse
import json
from pathlib import Path

import numpy as np

from codeling.dataset.tokens import open_tokens

MAX_FREQUENCY = 0.1
"""Frequency of a stepping stone, relative to the median of the merged entries."""


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="run folder with a tokenizer and token files"
    )
    run: Path = parser.parse_args().run
    model = json.loads((run / "tokenizer" / "tokenizer.json").read_bytes())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    ids = open_tokens(run / "tokens" / "train.bin").ids
    counts = np.bincount(ids, minlength=len(vocabulary))
    parts = {vocabulary[part] for pair in model["merges"] for part in pair}
    merged = np.array([vocabulary["".join(pair)] for pair in model["merges"]])
    median = float(np.median(counts[merged]))
    stones = np.array([i for i in merged if i in parts and counts[i] < MAX_FREQUENCY * median], int)
    stones = stones[np.argsort(counts[stones])]
    name = {i: entry for entry, i in vocabulary.items()}
    print(f"{len(vocabulary):,} entries, {len(ids):,} tokens, median frequency {median:,.0f}")
    print(f"{len(stones):,} stepping stones, {len(stones) / len(vocabulary):.1%} of the entries")
    print(f"{counts[stones].sum() / len(ids):.3%} of the tokens; the rarest:")
    print(", ".join(f"{name[i]} {counts[i]:,}" for i in stones[:12]))


if __name__ == "__main__":
    main()
