"""Near-deduplication finds nearly all copies, at least five times as fast as datasketch.

The input is 3,000 documents: files of the installed Python, a third of them replaced by near-copies
with 0 to 25 % of their lines changed. The truth is the Jaccard similarity of the sets of word
5-grams of every pair, by brute force. Documents belong together where a chain of pairs with a
similarity of at least 0.7 connects them.

Four ways from text to clusters alternate, all with 5-grams, 256 permutations, and the threshold
0.7: ours; datasketch as BigCode uses it (MinHash.bulk, MinHashLSH, and a union-find over the
candidates); the same with each candidate confirmed by its estimated similarity; and rensa's
RMinHashDeduplicator. For each the benchmark prints the rate, and recall and precision, both of
pairs that belong together and of documents that are dropped. Reading the same documents word by
word with one regular expression is the upper bound of the rate.

    python -m benchmarks.corpus.dedup --documents 3000 --rounds 3   # needs the extra [bench]
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
NO_WORD = re.compile(r"[^A-Za-z_0-9]")

Labels = NDArray[np.int64]
"""The cluster of each document, (D,)."""


def installed(count: int, rng: random.Random) -> list[str]:
    """``count`` files of the installed Python of at least 200 characters, chosen at random."""
    paths = sysconfig.get_paths()
    found = sorted(
        {p for key in ("stdlib", "purelib", "platlib") for p in Path(paths[key]).rglob("*.py")}
    )
    rng.shuffle(found)
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


def edited(text: str, rng: random.Random) -> str:
    """A near-copy: up to a quarter of the lines dropped, commented, renamed, or repeated."""
    share, lines = rng.uniform(0, 0.25), []
    for line in text.split("\n"):
        change = rng.randrange(4) if rng.random() < share else -1
        if change == 0:
            continue
        if change == 1:
            line = f"{line}  # changed {rng.randrange(1000)}"
        elif change == 2:
            line = re.sub(r"\b[a-z]\w+\b", lambda found: found.group() + "_new", line, count=1)
        elif change == 3:
            lines.append(line)
        lines.append(line)
    return "\n".join(lines)


def components(count: int, pairs: Sequence[tuple[int, int]] | NDArray[np.int64]) -> Labels:
    """Labels of the connected components."""
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = csr_matrix((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    labels: Labels = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def brute_force(texts: Sequence[str]) -> tuple[Labels, int]:
    """Clusters by true similarity, and the number of pairs that reach the threshold."""
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
    return components(len(texts), np.stack([left[near], right[near]], axis=1)), int(near.sum())


def ours(texts: Sequence[str]) -> Labels:
    """Our sketches in batches, and clusters from disk."""
    with tempfile.TemporaryDirectory() as folder:
        batches = (sketches(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH))
        return clusters(batches, Path(folder), THRESHOLD)


def _bigcode_sets(texts: Sequence[str]) -> list[set[bytes]]:
    sets = []
    for text in texts:
        words = [word for word in NO_WORD.split(text) if word]
        grams = zip(*(words[i:] for i in range(NGRAM)), strict=False)
        sets.append({" ".join(gram).encode() for gram in grams})
    return sets


def _datasketch(texts: Sequence[str], confirm: bool) -> Labels:
    hashed = MinHash.bulk(_bigcode_sets(texts), num_perm=PERMUTATIONS)
    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    pairs: list[tuple[int, int]] = []
    for i, each in enumerate(hashed):
        pairs += [
            (int(j), i)
            for j in index.query(each)
            if not confirm or each.jaccard(hashed[j]) >= THRESHOLD
        ]
        index.insert(i, each)
    return components(len(texts), pairs)


def datasketch(texts: Sequence[str]) -> Labels:
    """As BigCode: documents that share a band are copies."""
    return _datasketch(texts, confirm=False)


def datasketch_confirmed(texts: Sequence[str]) -> Labels:
    """Candidates from the index, confirmed by the similarity that 256 permutations estimate."""
    return _datasketch(texts, confirm=True)


def rensa(texts: Sequence[str]) -> Labels:
    """Rensa's deduplicator, queried with every document."""
    token_sets = [[gram.decode() for gram in grams] for grams in _bigcode_sets(texts)]
    hashed = RMinHash.from_token_sets(token_sets, num_perm=PERMUTATIONS, seed=42)
    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    pairs: list[tuple[int, int]] = []
    for i, each in enumerate(hashed):
        pairs += [(int(key), i) for key in index.get_duplicates(each)]
        index.add(str(i), each)
    return components(len(texts), pairs)


def read_words(texts: Sequence[str]) -> None:
    """Read all words: the upper bound of the rate."""
    for text in texts:
        for _ in WORD.finditer(text):
            pass


def agreement(found: Labels, truth: Labels) -> dict[str, float]:
    """Recall and precision of pairs that belong together, and of dropped documents."""

    def num_pairs(labels: Labels) -> int:
        counts = np.unique(labels, return_counts=True)[1]
        return int((counts * (counts - 1) // 2).sum())

    def dropped(labels: Labels) -> set[int]:
        return set(range(len(labels))) - set(np.unique(labels, return_index=True)[1].tolist())

    both = num_pairs(found * (truth.max() + 1) + truth)
    out, true_out = dropped(found), dropped(truth)
    return {
        "pair recall": both / num_pairs(truth),
        "pair precision": both / max(1, num_pairs(found)),
        "drop recall": len(out & true_out) / len(true_out),
        "drop precision": len(out & true_out) / max(1, len(out)),
    }


def main() -> None:
    """Measure all ways and print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=3000, help="size of the input")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each")
    parser.add_argument("--seed", type=int, default=0, help="seed of the input")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    texts = installed(options.documents - options.documents // 3, rng)
    texts += [edited(rng.choice(texts), rng) for _ in range(options.documents // 3)]
    num_bytes = sum(len(text.encode()) for text in texts)
    truth, num_pairs = brute_force(texts)
    kept = len(np.unique(truth))
    print(
        f"{len(texts)} documents, {num_bytes / 1e6:.1f} MB; by brute force {num_pairs} pairs of "
        f"at least {THRESHOLD}, {len(texts) - kept} documents dropped"
    )
    ways: dict[str, Callable[[Sequence[str]], Labels]] = {
        "codeling": ours,
        "datasketch": datasketch,
        "datasketch, confirmed": datasketch_confirmed,
        "rensa": rensa,
    }
    seconds: dict[str, list[float]] = {name: [] for name in [*ways, "reading words"]}
    results: dict[str, Labels] = {}
    for _ in range(options.rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            results[name] = way(texts)
            seconds[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        read_words(texts)
        seconds["reading words"].append(time.perf_counter() - start)
    for name, times in seconds.items():
        median = statistics.median(times)
        ratios = [other / own for other, own in zip(times, seconds["codeling"], strict=True)]
        line = f"{name:20} {median:7.2f} s  {num_bytes / 1e6 / median:6.1f} MB/s"
        line += f"  {statistics.median(ratios):6.2f} times the time of codeling"
        if name in results:
            figures = agreement(results[name], truth)
            line += "  " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items())
        print(line)


if __name__ == "__main__":
    main()
