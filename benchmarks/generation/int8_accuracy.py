"""Weights in int8 predict what weights in fp32 predict.

Both precisions of the fast runner read the same tokens of the test split of a run: files, each
after ``<|endoftext|>``, cut into windows of the context length. Printed are bits per byte of both,
the increase by int8, and the share of positions with the same most probable token. At most 0.2 %
more bits per byte and at least 98 % equal choices make int8 the default on a CPU.

    python -m benchmarks.generation.int8_accuracy runs/demo
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.scheduler import Batch, Row
from codeling.model.folder import read_config, read_tensors
from codeling.tokenizer.tokenizer import Tokenizer

_BATCH = 32


class Predictions(NamedTuple):
    """What a runner predicts at every position."""

    choices: NDArray[np.int64]
    """(N, T): the most probable next token."""
    nats: float
    """Negative log-likelihood of all tokens but the first of each window."""


def windows(run: Path, num_tokens: int, length: int) -> tuple[NDArray[np.int64], int]:
    """Tokens of the test split (N, length), and the bytes of all but the first of each window."""
    tokenizer = Tokenizer.load(run / "model")
    ids: list[int] = []
    for text in _texts(run):
        ids += [tokenizer.end_of_text, *tokenizer.encode(text)]
        if len(ids) >= num_tokens:
            break
    found = np.array(ids[: min(len(ids), num_tokens) // length * length]).reshape(-1, length)
    sizes = np.array([len(each) for each in tokenizer.token_bytes])
    return found, int(sizes[found[:, 1:]].sum())


def _texts(run: Path) -> Iterator[str]:
    for path in sorted((run / "corpus" / "test").glob("files-*.parquet")):
        yield from pq.read_table(path, columns=["content"])["content"].to_pylist()


def predict(runner: FastRunner, tokens: NDArray[np.int64]) -> Predictions:
    """Read ``tokens`` (N, T) one position at a time."""
    runner.reserve(_BATCH)
    choices, nats = np.empty_like(tokens), 0.0
    for first in range(0, len(tokens), _BATCH):
        batch = tokens[first : first + _BATCH]
        for place in range(batch.shape[1]):
            rows = [Row(slot, place, [int(ids[place])], 1) for slot, ids in enumerate(batch)]
            logits = runner.run(Batch(rows=rows)).astype(np.float64)
            choices[first : first + _BATCH, place] = logits.argmax(1)
            if place + 1 < batch.shape[1]:
                largest = logits.max(1)
                total = largest + np.log(np.exp(logits - largest[:, None]).sum(1))
                nats += float((total - logits[range(len(batch)), batch[:, place + 1]]).sum())
    return Predictions(choices, nats)


def main() -> None:
    """Compare both precisions on one run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder with a model and a test split")
    parser.add_argument("--tokens", type=int, default=100_000, help="default: 100,000")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    folder = options.run / "model"
    config = read_config(folder)
    tensors = read_tensors(folder, config)
    tokens, num_bytes = windows(options.run, options.tokens, config.context_length)
    fp32, int8 = (
        predict(FastRunner(convert(config, tensors, int8=int8)), tokens) for int8 in (False, True)
    )
    result = {
        "tokens": tokens.size,
        "bits_per_byte_fp32": fp32.nats / np.log(2) / num_bytes,
        "bits_per_byte_int8": int8.nats / np.log(2) / num_bytes,
        "increase": int8.nats / fp32.nats - 1,
        "equal_choices": float((int8.choices == fp32.choices).mean()),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"tokens                 {result['tokens']:,}")
    print(f"bits per byte, fp32    {result['bits_per_byte_fp32']:.4f}")
    print(f"bits per byte, int8    {result['bits_per_byte_int8']:.4f}")
    print(f"increase               {result['increase']:.3%}  (at most 0.2 %)")
    print(f"equal choices          {result['equal_choices']:.2%}  (at least 98 %)")


if __name__ == "__main__":
    main()
