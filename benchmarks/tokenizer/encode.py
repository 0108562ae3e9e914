"""Claim: the token files are encoded at 100 MB/s a core, with the ids that tokenizers gives.

Encodes the same Python (the running interpreter's packages) with our encoder, with tokenizers and
with tiktoken, in turns and in one process that is held to ``--cores`` cores; compares the ids of
every text; prints for each the rates by the clock and by processor time, and how many times as
fast ours is (median of the rounds). The rates by the clock need a machine that is quiet.

    python -m benchmarks.tokenizer.encode --megabytes 60 --cores 1
    python -m benchmarks.tokenizer.encode --tokenizer runs/demo/tokenizer/tokenizer.json
"""

import argparse
import os
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FLOOR = 100.0
"""Megabytes a second and core."""


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=60, help="text to encode")
    parser.add_argument("--peer-megabytes", type=float, default=12, help="of it, by the peers")
    parser.add_argument("--cores", type=int, default=1, help="cores that this process may use")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json; without it one is made")
    parser.add_argument("--vocab-size", type=int, default=4096, help="of the one that is made")
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_paths()["purelib"]))
    return parser.parse_args()


def read(folder: Path, num_bytes: float) -> list[str]:
    """Python files below ``folder`` in the order of their names, about ``num_bytes`` of them."""
    texts: list[str] = []
    size = 0
    for path in sorted(folder.rglob("*.py")):
        if size >= num_bytes:
            break
        try:
            texts.append(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        size += len(texts[-1].encode())
    return texts


def hold_to(cores: int) -> None:
    """Leave this process ``cores`` of the processor's cores, and as many threads to libraries."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["RAYON_NUM_THREADS"] = os.environ["FASTOKENS_BPE_THREADS"] = str(cores)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if cores > 1 else "false"


def main() -> int:
    """Measure, compare, print."""
    asked = options()
    hold_to(asked.cores)

    import numpy as np
    import tiktoken

    from codeling.recipe import TokenizerRecipe
    from codeling.tokenizer.encoders import Encoded, choose_encoder, reference_encoder
    from codeling.tokenizer.pretokenizer import GPT2_EXPRESSION
    from codeling.tokenizer.tokenizer import Tokenizer
    from codeling.tokenizer.train import train

    texts = read(asked.folder, asked.megabytes * 1e6)
    if asked.tokenizer:
        tokenizer = Tokenizer.load(asked.tokenizer)
    else:
        recipe = TokenizerRecipe(vocab_size=asked.vocab_size, max_training_bytes=20_000_000)
        tokenizer = train(texts, recipe)
    encoder, refused = choose_encoder(tokenizer, texts)
    ranks = {token: i for i, token in enumerate(tokenizer.token_bytes) if token}
    rust = tiktoken.Encoding(
        "ours", pat_str=GPT2_EXPRESSION, mergeable_ranks=ranks, special_tokens={}
    )

    def by_tiktoken(some: Sequence[str]) -> Encoded:
        encoded = rust.encode_ordinary_batch(list(some), num_threads=asked.cores)
        ids = np.concatenate([np.asarray(each, np.uint32) for each in encoded])
        return Encoded(ids, np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    few = read(asked.folder, asked.peer_megabytes * 1e6)
    ways: dict[str, tuple[Callable[[Sequence[str]], Encoded], list[str]]] = {
        encoder.name: (encoder.encode, texts),
        "tiktoken": (by_tiktoken, few),
        "tokenizers": (reference_encoder(tokenizer).encode, few),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    results: dict[str, Encoded] = {}
    for _ in range(asked.rounds):
        for name, (encode, some) in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            results[name] = encode(some)
            size = sum(len(text.encode()) for text in some) / 1e6
            rates[name].append(
                (size / (time.perf_counter() - clock), size / (time.process_time() - processor))
            )
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} files, {size:.1f} MB, {tokenizer.vocab_size:,} entries; peers encode")
    print(f"the first {len(few):,} files of them. {asked.cores} cores.")
    if refused:
        print(f"fastokens was refused: {refused}")
    equal = {name: same(results[name], results["tokenizers"], len(few)) for name in ways}
    ours = [clock for clock, _ in rates[encoder.name]]
    for name in ways:
        clock, processor = (statistics.median(each) for each in zip(*rates[name], strict=True))
        ratio = statistics.median(
            mine / theirs for mine, (theirs, _) in zip(ours, rates[name], strict=True)
        )
        print(
            f"{name:<11} {clock / asked.cores:7.1f} MB/s a core by the clock, "
            f"{processor:7.1f} by processor time; ours is {ratio:5.1f} times as fast; "
            f"ids equal on {equal[name]:,} of {len(few):,} files"
        )
    everything = reference_encoder(tokenizer).encode(texts)
    right = same(results[encoder.name], everything, len(texts))
    rate = statistics.median(ours) / asked.cores
    print(f"ids of {encoder.name} equal on {right:,} of {len(texts):,} files")
    print(f"{rate:.1f} MB/s a core; the floor is {FLOOR:.0f}")
    return 0 if rate >= FLOOR and right == len(texts) else 1


def same(ours: "object", theirs: "object", num_texts: int) -> int:
    """Of the first ``num_texts`` texts, how many have the same ids."""
    from codeling.tokenizer.encoders import Encoded

    assert isinstance(ours, Encoded)
    assert isinstance(theirs, Encoded)
    return sum(ours.text_ids(n).tolist() == theirs.text_ids(n).tolist() for n in range(num_texts))


if __name__ == "__main__":
    sys.exit(main())
