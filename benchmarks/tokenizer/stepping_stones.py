"""Claim: hardly any entry is there only because a longer one is made from it.

Byte-pair encoding keeps each part of every merge. Where a part is nearly always merged further it
is a stepping stone: an entry, and a row of the embedding, that texts do not use (Scaffold-BPE, Lian
et al. 2024). Counts the entries of RUN's tokenizer in its train split; a part of a merge that comes
less than a tenth as often as the median of merged entries is one.

    python -m benchmarks.tokenizer.stepping_stones runs/demo
"""

import argparse
import json
from pathlib import Path

import numpy as np

from codeling.dataset.tokens import open_tokens

SELDOM = 0.1
"""Of the median."""


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="a run folder with a tokenizer and token files")
    run: Path = parser.parse_args().run
    model = json.loads((run / "tokenizer" / "tokenizer.json").read_bytes())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    ids = open_tokens(run / "tokens" / "train.bin").ids
    counts = np.bincount(ids, minlength=len(vocabulary))
    parts = {vocabulary[part] for pair in model["merges"] for part in pair}
    merged = np.array([vocabulary["".join(pair)] for pair in model["merges"]])
    median = float(np.median(counts[merged]))
    stones = np.array([i for i in merged if i in parts and counts[i] < SELDOM * median], int)
    stones = stones[np.argsort(counts[stones])]
    name = {i: entry for entry, i in vocabulary.items()}
    print(f"{len(vocabulary):,} entries, {len(ids):,} tokens, median of an entry {median:,.0f}")
    print(f"{len(stones):,} stepping stones, {len(stones) / len(vocabulary):.1%} of the entries")
    print(f"{counts[stones].sum() / len(ids):.3%} of the tokens; the rarest:")
    print(", ".join(f"{name[i]} {counts[i]:,}" for i in stones[:12]))


if __name__ == "__main__":
    main()
