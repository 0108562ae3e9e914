"""Token files are encoded at 100 MB/s per core, with the same ids as the tokenizers library.

Encodes the Python packages of the running interpreter with our encoder, with tokenizers, and with
tiktoken. They alternate in one process that is restricted to ``--cores`` cores. Compares the ids of
every text. Prints the rates by wall clock and by processor time, and the median over the rounds of
how many times as fast our encoder is. Rates by wall clock need an idle machine.

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

MIN_RATE = 100.0
"""Megabytes per second and core."""


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=60, help="text to encode")
    parser.add_argument(
        "--peer-megabytes", type=float, default=12, help="text for the other libraries"
    )
    parser.add_argument("--cores", type=int, default=1, help="cores that this process may use")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json (default: learn one)")
    parser.add_argument(
        "--vocab-size", type=int, default=4096, help="entries of the learned tokenizer"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(sysconfig.get_paths()["purelib"]),
        help="folder of Python files (default: installed packages)",
    )  # fmt: skip
    return parser.parse_args()


def read(folder: Path, num_bytes: float) -> list[str]:
    """About ``num_bytes`` of Python files below ``folder``, in the order of their names."""
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


def restrict_to(cores: int) -> None:
    """Restrict this process to ``cores`` cores, and the libraries to as many threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    os.environ["RAYON_NUM_THREADS"] = os.environ["FASTOKENS_BPE_THREADS"] = str(cores)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if cores > 1 else "false"


def main() -> int:
    """Measure and compare."""
    options = parse_options()
    restrict_to(options.cores)

    import numpy as np
    import tiktoken

    from codeling.recipe import TokenizerRecipe
    from codeling.tokenizer.encoders import Encoded, choose_encoder, reference_encoder
    from codeling.tokenizer.pretokenizer import GPT2_EXPRESSION
    from codeling.tokenizer.tokenizer import Tokenizer
    from codeling.tokenizer.train import train

    texts = read(options.folder, options.megabytes * 1e6)
    if options.tokenizer:
        tokenizer = Tokenizer.load(options.tokenizer)
    else:
        recipe = TokenizerRecipe(vocab_size=options.vocab_size, max_training_bytes=20_000_000)
        tokenizer = train(texts, recipe)
    encoder, refusal = choose_encoder(tokenizer, texts)
    ranks = {token: i for i, token in enumerate(tokenizer.token_bytes) if token}
    encoding = tiktoken.Encoding(
        "ours", pat_str=GPT2_EXPRESSION, mergeable_ranks=ranks, special_tokens={}
    )

    def by_tiktoken(batch: Sequence[str]) -> Encoded:
        encoded = encoding.encode_ordinary_batch(list(batch), num_threads=options.cores)
        ids = np.concatenate([np.asarray(each, np.uint32) for each in encoded])
        return Encoded(ids, np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    sample = read(options.folder, options.peer_megabytes * 1e6)
    ways: dict[str, tuple[Callable[[Sequence[str]], Encoded], list[str]]] = {
        encoder.name: (encoder.encode, texts),
        "tiktoken": (by_tiktoken, sample),
        "tokenizers": (reference_encoder(tokenizer).encode, sample),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    results: dict[str, Encoded] = {}
    for _ in range(options.rounds):
        for name, (encode, batch) in ways.items():
            clock, processor = time.perf_counter(), time.process_time()
            results[name] = encode(batch)
            size = sum(len(text.encode()) for text in batch) / 1e6
            rates[name].append(
                (size / (time.perf_counter() - clock), size / (time.process_time() - processor))
            )
    size = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} files, {size:.1f} MB, {tokenizer.vocab_size:,} entries")
    print(f"the other libraries encode the first {len(sample):,} files; {options.cores} cores")
    if refusal:
        print(f"fastokens was refused: {refusal}")
    equal = {name: num_equal(results[name], results["tokenizers"], len(sample)) for name in ways}
    ours = [clock for clock, _ in rates[encoder.name]]
    for name in ways:
        clock, processor = (statistics.median(each) for each in zip(*rates[name], strict=True))
        ratio = statistics.median(
            mine / theirs for mine, (theirs, _) in zip(ours, rates[name], strict=True)
        )
        print(
            f"{name:<11} {clock / options.cores:7.1f} MB/s per core by wall clock, "
            f"{processor:7.1f} by processor time; ours is {ratio:5.1f} times as fast; "
            f"ids equal on {equal[name]:,} of {len(sample):,} files"
        )
    reference = reference_encoder(tokenizer).encode(texts)
    correct = num_equal(results[encoder.name], reference, len(texts))
    rate = statistics.median(ours) / options.cores
    print(f"ids of {encoder.name} equal on {correct:,} of {len(texts):,} files")
    print(f"{rate:.1f} MB/s per core; required: {MIN_RATE:.0f}")
    return 0 if rate >= MIN_RATE and correct == len(texts) else 1


def num_equal(ours: "object", theirs: "object", num_texts: int) -> int:
    """Number of the first ``num_texts`` texts with equal ids."""
    from codeling.tokenizer.encoders import Encoded

    assert isinstance(ours, Encoded)
    assert isinstance(theirs, Encoded)
    return sum(ours.text_ids(n).tolist() == theirs.text_ids(n).tolist() for n in range(num_texts))


if __name__ == "__main__":
    sys.exit(main())
