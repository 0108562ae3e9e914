"""On a processor the fast runner generates tokens in less time than other engines.

All sides have the same random weights and one thread: Hugging Face ``generate`` (fp32), the torch
runner (fp32), the fast runner in fp32 and in int8, CTranslate2 (int8) and llama.cpp (q8_0). They
alternate within each round. The table shows the median time of:

- ``load``: the model from its files, and one token,
- ``decode``: one step for 1 and for 8 sequences with 200 tokens in the cache,
- ``prefill``: a prompt of N tokens up to its first new token,
- ``reuse``: the first new token of a prompt, all but 8 tokens of which are in the cache.

``speedup`` is the time of Hugging Face divided by the side's own time, the median over the rounds.
``memory`` is the growth of resident memory by a model that is loaded. ``bandwidth`` is the share of
the measured read bandwidth that a decoding step reaches: bytes of weights that it reads, divided by
its time. Weights that fit into the processor's cache can exceed 100 %. All sides pick the most
probable token, and their first choices are compared. Needs the extra [bench]; llama.cpp needs
node-llama-cpp (:mod:`benchmarks.generation.peers`).

    python -m benchmarks.generation.decode
    python -m benchmarks.generation.decode --sizes nano --llama-cpp FOLDER --json
"""

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.generation.peers import (
    NUM_SEQUENCES,
    CTranslate2,
    HuggingFace,
    Ids,
    LlamaCpp,
    Side,
    write_folder,
)
from codeling.export.ctranslate2 import write_ctranslate2
from codeling.export.export_source import ExportSource
from codeling.export.gguf import write_gguf
from codeling.generation.runners import Runner
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.runners.torch import TorchRunner
from codeling.generation.scheduler import Batch, Row
from codeling.model import weights
from codeling.model.config import GPT2Config
from codeling.model.folder import read_config, read_tensors
from codeling.model.gpt2 import GPT2

SIZES = {
    "nano": GPT2Config(4_096, 256, n_layer=4, n_head=3, n_embd=192),
    "34M": GPT2Config(16_384, 1024, n_layer=8, n_head=8, n_embd=512),
    "124M": GPT2Config(50_257, 1024, n_layer=12, n_head=12, n_embd=768),
}
BASELINE = "Hugging Face"
NUM_CACHED, NUM_STEPS = 200, 16
"""Tokens in the cache before the first timed decoding step; timed steps in a round."""
MARGIN, NUM_SUFFIX = 24, 8
"""Positions that the longest prefill leaves free; new tokens after a reused prefix."""


class Result(NamedTuple):
    """One line of the table."""

    size: str
    measure: str
    side: str
    milliseconds: float
    speedup: float
    megabytes: float
    bandwidth: float | None
    """Share of the measured read bandwidth; None where a step is not bound by the weights."""


class OurRunner:
    """One of our runners."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        runner.reserve(NUM_SEQUENCES)

    def _picked(self, sequences: list[Ids], start: int = 0) -> Ids:
        """The most probable ids after tokens that stand from position ``start`` on."""
        rows = [Row(slot, start, ids, 1) for slot, ids in enumerate(sequences)]
        ids: Ids = self._runner.run(Batch(rows=rows)).argmax(-1).tolist()
        return ids

    def greedy(self, prompt: Ids) -> int:
        """See :class:`Side`."""
        return self._picked([prompt])[0]

    def clock(self, prompts: list[Ids], num_new: int, num_cached: int = 0) -> list[float]:
        """See :class:`Side`."""
        if num_cached:
            self._picked([prompt[:num_cached] for prompt in prompts])
        ids, position = [prompt[num_cached:] for prompt in prompts], num_cached
        clock = [time.perf_counter()]
        for _ in range(num_new):
            picked = self._picked(ids, position)
            position += len(ids[0])
            ids = [[token] for token in picked]
            clock.append(time.perf_counter())
        return clock


def decode_step(side: Side, prompts: list[Ids]) -> float:
    """Median seconds of one decoding step after ``prompts``."""
    clock = side.clock(prompts, 1 + NUM_STEPS)[1:]
    return statistics.median(end - start for start, end in pairwise(clock))


def first_token(side: Side, prompt: Ids, num_cached: int = 0) -> float:
    """Seconds until the first new token, ``num_cached`` tokens read before."""
    start, end = side.clock([prompt], 1, num_cached)
    return end - start


def fast(folder: Path, *, int8: bool) -> OurRunner:
    """The fast runner with the model of a Hugging Face folder."""
    config = read_config(folder)
    return OurRunner(FastRunner(convert(config, read_tensors(folder, config), int8=int8)))


def loaders(model: GPT2, folder: Path, node_modules: Path | None) -> dict[str, Callable[[], Side]]:
    """Functions that load each side from files, which are written to ``folder``."""
    source = folder / "model"
    write_folder(model, source)
    found: dict[str, Callable[[], Side]] = {
        BASELINE: partial(HuggingFace, source),
        "torch, fp32": lambda: OurRunner(TorchRunner(weights.load(source)[0])),
        "fast, fp32": partial(fast, source, int8=False),
        "fast, int8": partial(fast, source, int8=True),
    }
    if importlib.util.find_spec("ctranslate2"):
        other = folder / "ctranslate2"
        write_ctranslate2(ExportSource.read(str(source)), other, "int8")
        found["CTranslate2, int8"] = partial(CTranslate2, other)
    else:
        print("CTranslate2 is left out: pip install ctranslate2", file=sys.stderr)
    if node_modules and importlib.util.find_spec("gguf"):
        other = folder / "model.gguf"
        write_gguf(ExportSource.read(str(source)), other, "q8_0")
        length = model.config.context_length
        found["llama.cpp, q8_0"] = partial(LlamaCpp, node_modules, other, length)
    else:
        print("llama.cpp is left out: pip install gguf, and --llama-cpp FOLDER", file=sys.stderr)
    return found


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def load(
    size: str, found: dict[str, Callable[[], Side]], prompt: Ids
) -> tuple[dict[str, Side], list[Result]]:
    """Load every side, and compare the first tokens."""
    sides: dict[str, Side] = {}
    seconds, megabytes, tokens = {}, {}, {}
    for name, loader in found.items():
        before, start = resident_bytes(), time.perf_counter()
        side = sides[name] = loader()
        tokens[name] = side.greedy(prompt)
        seconds[name] = time.perf_counter() - start
        growth = side.num_bytes if isinstance(side, LlamaCpp) else resident_bytes() - before
        megabytes[name] = growth / 1e6
    if len(set(tokens.values())) > 1:
        print(f"{size}: the first tokens differ: {tokens}", file=sys.stderr)
    return sides, [
        Result(size, "load", name, 1e3 * each, seconds[BASELINE] / each, megabytes[name], None)
        for name, each in seconds.items()
    ]


def read_bandwidth() -> float:
    """Bytes per second that one thread reads: the best of five dot products of 256 MiB vectors."""
    left, right = np.ones((2, 1 << 26), np.float32)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        np.dot(left, right)
        times.append(time.perf_counter() - start)
    return (left.nbytes + right.nbytes) / min(times)


def works(config: GPT2Config) -> dict[str, Callable[[Side], float]]:
    """What is measured, by its name."""
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (8, config.context_length))
    prompts: list[Ids] = ids.tolist()
    longest = config.context_length - MARGIN
    found: dict[str, Callable[[Side], float]] = {}
    for batch in (1, NUM_SEQUENCES):
        cached = [prompt[:NUM_CACHED] for prompt in prompts[:batch]]
        found[f"decode, batch {batch}"] = partial(decode_step, prompts=cached)
    for length in sorted({128, min(512, longest), longest}):
        found[f"prefill {length}"] = partial(first_token, prompt=prompts[0][:length])
    prompt, num_cached = prompts[0][:longest], longest - NUM_SUFFIX
    found[f"reuse {num_cached}"] = partial(first_token, prompt=prompt, num_cached=num_cached)
    return found


def measure(
    name: str, rounds: int, bandwidth: float, node_modules: Path | None
) -> Iterator[Result]:
    """All results of one size."""
    config = SIZES[name]
    with ExitStack() as stack:
        model = GPT2(config).eval()
        model.initialize(0)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = loaders(model, folder, node_modules)
        sides, loaded = load(name, found, list(range(100)))
        for side in sides.values():
            if isinstance(side, LlamaCpp):
                stack.callback(side.close)
        yield from loaded
        megabytes = {result.side: result.megabytes for result in loaded}
        num_weights = sum(each.numel() for each in model.parameters()) - model.wpe.weight.numel()
        for work_name, work in works(config).items():
            times = [{key: work(side) for key, side in sides.items()} for _ in range(1 + rounds)]
            del times[0]  # the first round warms up
            for key in sides:
                median = statistics.median(each[key] for each in times)
                speedup = statistics.median(each[BASELINE] / each[key] for each in times)
                num_bytes = num_weights * (1 if key.endswith(("int8", "q8_0")) else 4)
                share = num_bytes / median / bandwidth if "decode" in work_name else None
                yield Result(name, work_name, key, 1e3 * median, speedup, megabytes[key], share)


def main() -> None:
    """Measure every size and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument(
        "--llama-cpp", type=Path, metavar="FOLDER", help="where node-llama-cpp is installed"
    )
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="measure processor time, on a machine with other work; without llama.cpp",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1), ExitStack() as stack:
        if options.processor_time:  # llama.cpp runs in another process
            options.llama_cpp = None
            stack.enter_context(patch.object(time, "perf_counter", time.process_time))
        bandwidth = read_bandwidth()
        print(f"read bandwidth of one thread: {bandwidth / 1e9:.1f} GB/s", file=sys.stderr)
        results = (
            result
            for name in options.sizes
            for result in measure(name, options.rounds, bandwidth, options.llama_cpp)
        )
        if options.json:
            lines = [result._asdict() for result in results]
            print(json.dumps({"read_bandwidth": bandwidth, "results": lines}))
            return
        print("| size | measure | side | ms | speedup | memory, MB | bandwidth |")
        print("|---|---|---|" + "---:|" * 4)
        for size, work, side, ms, speedup, megabytes, share in results:
            figures = f"{ms:,.2f} | {speedup:.2f} | {megabytes:,.0f}"
            shown = "" if share is None else f"{share:.0%}"
            print(f"| {size} | {work} | {side} | {figures} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
