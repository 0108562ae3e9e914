"""Claim: near-deduplication is exact enough, and at least five times as fast as datasketch.

3,000 documents: files of the Python installed here, a third of them replaced by near-copies
with 0 to 25 % of their lines changed. Truth is the Jaccard similarity of their sets of 5-grams
of words, of every pair by brute force (a product of sparse matrices); pairs are together where
a chain of pairs of at least 0.7 joins them.

Three ways from text to clusters, alternating, each with 5-grams, 256 permutations and the
threshold 0.7: ours; datasketch as BigCode uses it (MinHash.bulk, MinHashLSH, a union-find over
what its index gives) and with the estimate of each candidate asked too; rensa's
RMinHashDeduplicator. For each the rate, and recall and precision against the truth, counted in
pairs that are together and in documents that are dropped. The floor is reading the same
documents word by word with one regular expression.

Run:  python -m benchmarks.corpus.dedup [--documents 3000] [--rounds 3]   (needs the extra [bench])
"""

import argparse
import random
import re
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashDeduplicator
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from codeling.corpus.dedup.minhash import ngrams, sketches
from codeling.corpus.dedup.near_duplicates import clusters

THRESHOLD, PERMUTATIONS, NGRAM = 0.7, 256, 5
BATCH = 64
WORD = re.compile(r"[A-Za-z0-9_\x80-\U0010ffff]+")
SIGN = re.compile(r"[^A-Za-z_0-9]")

Names = NDArray[np.int64]


def installed(count: int, draw: random.Random) -> list[str]:
    """So many readable files of at least 200 characters, in the order of their paths."""
    paths = sysconfig.get_paths()
    found = sorted(
        {p for key in ("stdlib", "purelib", "platlib") for p in Path(paths[key]).rglob("*.py")}
    )
    draw.shuffle(found)
    texts: list[str] = []
    for path in found:
        if len(texts) == count:
            break
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if 200 <= len(text) <= 1_000_000:
            texts.append(text)
    return texts


def edited(text: str, draw: random.Random) -> str:
    """A near-copy: up to a quarter of the lines dropped, commented, renamed or repeated."""
    share, lines = draw.uniform(0, 0.25), []
    for line in text.split("\n"):
        change = draw.randrange(4) if draw.random() < share else -1
        if change == 0:
            continue
        if change == 1:
            line = f"{line}  # changed {draw.randrange(1000)}"
        elif change == 2:
            line = re.sub(r"\b[a-z]\w+\b", lambda found: found.group() + "_new", line, count=1)
        elif change == 3:
            lines.append(line)
        lines.append(line)
    return "\n".join(lines)


def together(count: int, pairs: Sequence[tuple[int, int]] | NDArray[np.int64]) -> Names:
    """Names of connected components."""
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = csr_matrix((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    names: Names = connected_components(graph, directed=False)[1].astype(np.int64)
    return names


def brute_force(texts: Sequence[str]) -> tuple[Names, int]:
    """Components of all pairs of true similarity at least the threshold, and their number."""
    hashes, offsets = ngrams(texts)
    grams, numbers = np.unique(hashes, return_inverse=True)
    owners = np.repeat(np.arange(len(texts)), np.diff(offsets))
    matrix = csr_matrix(
        (np.ones(len(numbers), np.int32), (owners, numbers)), shape=(len(texts), len(grams))
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    common = (matrix @ matrix.T).tocoo()
    left, right = common.row, common.col
    near = common.data >= THRESHOLD * (sizes[left] + sizes[right] - common.data)
    near &= left < right
    return together(len(texts), np.stack([left[near], right[near]], axis=1)), int(near.sum())


def ours(texts: Sequence[str]) -> Names:
    """Sketches in batches, clusters from disk."""
    with tempfile.TemporaryDirectory() as folder:
        batches = (sketches(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH))
        return clusters(batches, Path(folder), THRESHOLD)


def _bigcode_sets(texts: Sequence[str]) -> list[set[bytes]]:
    sets = []
    for text in texts:
        words = [word for word in SIGN.split(text) if word]
        grams = zip(*(words[i:] for i in range(NGRAM)), strict=False)
        sets.append({" ".join(gram).encode() for gram in grams})
    return sets


def _datasketch(texts: Sequence[str], judged: bool) -> Names:
    hashed = MinHash.bulk(_bigcode_sets(texts), num_perm=PERMUTATIONS)
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    pairs: list[tuple[int, int]] = []
    for i, each in enumerate(hashed):
        pairs += [
            (int(j), i)
            for j in index.query(each)
            if not judged or each.jaccard(hashed[j]) >= THRESHOLD
        ]
        index.insert(i, each)
    return together(len(texts), pairs)


def datasketch(texts: Sequence[str]) -> Names:
    """As BigCode: whatever shares a band is a copy."""
    return _datasketch(texts, judged=False)


def datasketch_judged(texts: Sequence[str]) -> Names:
    """Candidates by its index, each then judged by the estimate of all 256 permutations."""
    return _datasketch(texts, judged=True)


def rensa(texts: Sequence[str]) -> Names:
    """Rensa's deduplicator, asked for the copies of every document."""
    token_sets = [[gram.decode() for gram in grams] for grams in _bigcode_sets(texts)]
    hashed = RMinHash.from_token_sets(token_sets, num_perm=PERMUTATIONS, seed=42)
    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    pairs: list[tuple[int, int]] = []
    for i, each in enumerate(hashed):
        pairs += [(int(key), i) for key in index.get_duplicates(each)]
        index.add(str(i), each)
    return together(len(texts), pairs)


def floor(texts: Sequence[str]) -> None:
    """Reading alone."""
    for text in texts:
        for _ in WORD.finditer(text):
            pass


def agreement(found: Names, truth: Names) -> dict[str, float]:
    """Recall and precision in pairs that are together, and in documents that are dropped."""

    def pairs(names: NDArray[np.int64]) -> int:
        counts = np.unique(names, return_counts=True)[1]
        return int((counts * (counts - 1) // 2).sum())

    def dropped(names: Names) -> set[int]:
        return set(range(len(names))) - set(np.unique(names, return_index=True)[1].tolist())

    both = pairs(found * (truth.max() + 1) + truth)
    out, true_out = dropped(found), dropped(truth)
    return {
        "pair recall": both / pairs(truth),
        "pair precision": both / max(1, pairs(found)),
        "drop recall": len(out & true_out) / len(true_out),
        "drop precision": len(out & true_out) / max(1, len(out)),
    }


def main() -> None:
    """Measure all ways and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    texts = installed(arguments.documents - arguments.documents // 3, draw)
    texts += [edited(draw.choice(texts), draw) for _ in range(arguments.documents // 3)]
    num_bytes = sum(len(text.encode()) for text in texts)
    truth, num_pairs = brute_force(texts)
    kept = len(np.unique(truth))
    print(
        f"{len(texts)} documents, {num_bytes / 1e6:.1f} MB; by brute force {num_pairs} pairs of "
        f"at least {THRESHOLD}, {len(texts) - kept} documents dropped"
    )
    ways: dict[str, Callable[[Sequence[str]], Names]] = {
        "codeling": ours,
        "datasketch": datasketch,
        "datasketch, judged": datasketch_judged,
        "rensa": rensa,
    }
    seconds: dict[str, list[float]] = {name: [] for name in [*ways, "floor"]}
    results: dict[str, Names] = {}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            results[name] = way(texts)
            seconds[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        floor(texts)
        seconds["floor"].append(time.perf_counter() - start)
    for name, times in seconds.items():
        median = statistics.median(times)
        ratios = [other / own for other, own in zip(times, seconds["codeling"], strict=True)]
        line = f"{name:20} {median:7.2f} s  {num_bytes / 1e6 / median:6.1f} MB/s"
        line += f"  {statistics.median(ratios):6.2f} times codeling's time"
        if name in results:
            figures = agreement(results[name], truth)
            line += "  " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
        print(line)


if __name__ == "__main__":
    main()
