"""On a processor the fast runner generates tokens in less time than Hugging Face's ``generate``.

Four sides have the same random weights and one thread: Hugging Face ``generate`` (fp32), the torch
runner (fp32), and the fast runner in fp32 and in int8. They alternate within each round. The table
shows the median time of:

- ``decode``: one step for 1 and for 8 sequences with 200 tokens in the cache,
- ``prefill``: a prompt of N tokens up to its first new token,
- ``reuse``: 8 new tokens after a cached prefix that fills the context up to 32 positions.

``weights`` is the memory of the weights.
``speedup`` is the time of Hugging Face divided by the side's own time, the median over the rounds.
``bandwidth`` is the share of the measured read bandwidth that a decoding step reaches: bytes of
weights that it reads, divided by its time. Weights that fit into the processor's cache can exceed
100 %. All sides pick the most probable token. Needs the extra [bench].

    python -m benchmarks.generation.decode
    python -m benchmarks.generation.decode --sizes nano --json
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from codeling.generation.runners import Runner
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.runners.torch import TorchRunner
from codeling.generation.scheduler import Batch, Row
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2

SIZES = {
    "nano": GPT2Config(4_096, 256, n_layer=4, n_head=3, n_embd=192),
    "34M": GPT2Config(16_384, 512, n_layer=8, n_head=8, n_embd=512),
    "124M": GPT2Config(50_257, 1024, n_layer=12, n_head=12, n_embd=768),
}
BASELINE = "Hugging Face"
NUM_CACHED, NUM_STEPS = 200, 16
"""Tokens in the cache before the first timed decoding step; timed steps in a round."""
MARGIN, NUM_SUFFIX = 24, 8
"""Positions that the longest prefill leaves free; new tokens after a reused prefix."""

Ids = list[int]


class Result(NamedTuple):
    """One line of the table."""

    size: str
    measure: str
    side: str
    milliseconds: float
    speedup: float
    weight_megabytes: float
    bandwidth: float | None
    """Share of the measured read bandwidth; None where a step is not bound by the weights."""


class OurRunner:
    """One of our runners."""

    def __init__(self, runner: Runner, num_bytes: int) -> None:
        self._runner, self.num_bytes = runner, num_bytes
        runner.reserve(8)

    def logits(self, sequences: list[Ids], start: int = 0) -> NDArray[np.float32]:
        """The logits (B, V) after tokens that stand from position ``start`` on."""
        rows = [Row(slot, start, ids, True) for slot, ids in enumerate(sequences)]
        return self._runner.run(Batch(rows=rows))

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """The clock at the start and after each new token; ``num_cached`` are read before."""
        if num_cached:
            self.logits([prompt[:num_cached] for prompt in prompts])
        ids, position = [prompt[num_cached:] for prompt in prompts], num_cached
        clock = [time.perf_counter()]
        for _ in range(num_new):
            picked = self.logits(ids, position).argmax(-1).tolist()
            position += len(ids[0])
            ids = [[token] for token in picked]
            clock.append(time.perf_counter())
        return clock


class HuggingFace:
    """``GPT2LMHeadModel.generate`` with the weights of ``model``."""

    def __init__(self, model: GPT2) -> None:
        from transformers import GPT2Config as Config
        from transformers import GPT2LMHeadModel

        shape = model.config.to_hugging_face() | {"bos_token_id": 0, "eos_token_id": 0}
        self._model: Any = GPT2LMHeadModel(Config(**shape)).eval()
        self._model.transformer.load_state_dict(model.state_dict())
        self._model.tie_weights()
        self.num_bytes = torch_bytes(self._model)

    @torch.inference_mode()
    def logits(self, sequences: list[Ids]) -> NDArray[np.float32]:
        """The logits (B, V) after the sequences."""
        return np.asarray(self._model(torch.tensor(sequences)).logits[:, -1])

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """See :meth:`OurRunner.clock`."""
        ids, cache = torch.tensor(prompts), None
        if num_cached:
            with torch.inference_mode():
                prefix = self._model(ids[:, :num_cached], use_cache=True, logits_to_keep=1)
            cache = prefix.past_key_values
        clock = [time.perf_counter()]

        def record(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            clock.append(time.perf_counter())
            return torch.zeros(len(ids), dtype=torch.bool)

        mask, options = torch.ones_like(ids), {"eos_token_id": None, "pad_token_id": 0}
        self._model.generate(
            ids, attention_mask=mask, past_key_values=cache, max_new_tokens=num_new,
            do_sample=False, stopping_criteria=[record], **options,
        )  # fmt: skip
        return clock


Side = OurRunner | HuggingFace


def decode_step(side: Side, prompts: list[Ids]) -> float:
    """Median seconds of one decoding step after ``prompts``."""
    clock = side.clock(prompts, 1 + NUM_STEPS)[1:]
    return statistics.median(end - start for start, end in pairwise(clock))


def first_token(side: Side, prompt: Ids, num_cached: int = 0) -> float:
    """Seconds until the first new token, ``num_cached`` tokens read before."""
    start, end = side.clock([prompt], 1, num_cached)
    return end - start


def torch_bytes(module: torch.nn.Module) -> int:
    """Bytes of all parameters."""
    return sum(each.numel() * each.element_size() for each in module.parameters())


def fast_runner(model: GPT2, *, int8: bool) -> OurRunner:
    """The fast runner with the weights of ``model``."""
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    weights = convert(model.config, tensors, int8=int8)
    matrices = [weights.embedding, *(matrix for layer in weights.layers for matrix in layer)]
    arrays = [weights.positions, weights.norms, *(a for each in matrices for a in each)]
    return OurRunner(FastRunner(weights), sum(each.nbytes for each in arrays))


def make_sides(config: GPT2Config) -> dict[str, Side]:
    """All sides with the same random weights, checked against each other."""
    model = GPT2(config).eval()
    model.initialize(0)
    sides: dict[str, Side] = {
        BASELINE: HuggingFace(model),
        "torch, fp32": OurRunner(TorchRunner(model), torch_bytes(model)),
        "fast, fp32": fast_runner(model, int8=False),
        "fast, int8": fast_runner(model, int8=True),
    }
    prompts = [list(range(100))]
    expected = sides[BASELINE].logits(prompts)
    for name, side in sides.items():
        error = np.abs(side.logits(prompts) - expected).max() / expected.std()
        if error > (0.1 if "int8" in name else 1e-3):
            raise SystemExit(f"{name}: logits differ from {BASELINE} by {error:.4f} deviations")
    return sides


def read_bandwidth() -> float:
    """Bytes per second that one thread reads: the best of five dot products of 256 MiB vectors."""
    left, right = np.ones((2, 1 << 26), np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.dot(left, right)
        times.append(time.perf_counter() - start)
    return (left.nbytes + right.nbytes) / min(times)


def measure(name: str, rounds: int, bandwidth: float) -> Iterator[Result]:
    """All results of one size."""
    config, sides = SIZES[name], make_sides(SIZES[name])
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (8, config.context_length))
    prompts: list[Ids] = ids.tolist()
    longest = config.context_length - MARGIN
    works: dict[str, Callable[[Side], float]] = {}
    for batch in (1, 8):
        cached = [prompt[:NUM_CACHED] for prompt in prompts[:batch]]
        works[f"decode, batch {batch}"] = partial(decode_step, prompts=cached)
    for length in (128, 512, longest):
        if length <= longest:
            works[f"prefill {length}"] = partial(first_token, prompt=prompts[0][:length])
    prompt, num_cached = prompts[0][:longest], longest - NUM_SUFFIX
    works[f"reuse {num_cached}"] = partial(first_token, prompt=prompt, num_cached=num_cached)
    position_bytes = 4 * config.context_length * config.n_embd
    for work_name, work in works.items():
        times = [{key: work(side) for key, side in sides.items()} for _ in range(1 + rounds)]
        del times[0]  # the first round warms up
        for key, side in sides.items():
            median = statistics.median(each[key] for each in times)
            speedup = statistics.median(each[BASELINE] / each[key] for each in times)
            share = (side.num_bytes - position_bytes) / median / bandwidth
            figures = 1e3 * median, speedup, side.num_bytes / 1e6
            yield Result(name, work_name, key, *figures, share if "decode" in work_name else None)


def main() -> None:
    """Measure every size and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        bandwidth = read_bandwidth()
        print(f"read bandwidth of one thread: {bandwidth / 1e9:.1f} GB/s", file=sys.stderr)
        results = (r for name in options.sizes for r in measure(name, options.rounds, bandwidth))
        if options.json:
            lines = [result._asdict() for result in results]
            print(json.dumps({"read_bandwidth": bandwidth, "results": lines}))
            return
        print("| size | measure | side | ms | speedup | weights, MB | bandwidth |")
        print("|---|---|---|" + "---:|" * 4)
        for size, work, side, ms, speedup, megabytes, share in results:
            figures = f"{ms:,.2f} | {speedup:.2f} | {megabytes:,.1f}"
            shown = "" if share is None else f"{share:.0%}"
            print(f"| {size} | {work} | {side} | {figures} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
