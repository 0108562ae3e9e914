"""While a person types, almost nothing of a prompt is read twice.

300 requests from real files of this Python's standard library: each has the text before the cursor,
and the next request comes a few characters later. After 100 requests another file is opened.
Printed are the share of prompt tokens that the engine reused, and the median and 95th percentile of
the time from request to 16 tokens. Windows that move during a completion count as prompts. The
engine has no memory; the weights are int8, on one thread.

    python -m benchmarks.generation.typing runs/demo
    python -m benchmarks.generation.typing runs/demo --random-124m
"""

import argparse
import json
import statistics
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codeling.generation.engine import Engine
from codeling.generation.request import Request, SamplingParams
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.model.config import GPT2Config
from codeling.tokenizer.tokenizer import Tokenizer

NUM_REQUESTS, PER_FILE, NUM_TOKENS = 300, 100, 16
GPT2_124M = GPT2Config(50_257, 1024, n_layer=12, n_head=12, n_embd=768)


def prompts() -> Iterator[str]:
    """The text before the cursor of each request."""
    random = np.random.default_rng(0)
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.glob("*.py") if path.stat().st_size > 8_000)
    chosen = random.choice(len(files), NUM_REQUESTS // PER_FILE, replace=False)
    for number in chosen:
        text = files[number].read_text("utf-8")
        cursor = int(random.integers(500, 6_000))
        for _ in range(PER_FILE):
            yield text[:cursor]
            cursor += int(random.integers(1, 6))


def random_engine(tokenizer: Tokenizer) -> Engine:
    """An engine of 124 M random parameters, in int8."""
    random = np.random.default_rng(0)
    tensors = {
        name: random.standard_normal(shape, np.float32) * np.float32(0.02)
        for name, shape in GPT2_124M.tensor_shapes.items()
    }
    return Engine(FastRunner(convert(GPT2_124M, tensors, int8=True)), tokenizer)


def main() -> None:
    """Replay the requests on one engine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="run folder or Hugging Face folder")
    parser.add_argument(
        "--random-124m",
        action="store_true",
        help="124 M random parameters instead, with the model's tokenizer",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    engine = Engine.load(options.model, "cpu")
    if options.random_124m:
        engine = random_engine(engine.tokenizer)
    params = SamplingParams(max_new_tokens=NUM_TOKENS)
    requests = [Request(prompt, None, params) for prompt in prompts()]
    engine.complete_requests(requests[:1])  # compiles the kernels
    before = engine.scheduler.num_prompt_tokens, engine.scheduler.num_reused_tokens
    seconds = []
    for request in requests:
        start = time.perf_counter()
        engine.complete_requests([request], batch_size=1)
        seconds.append(time.perf_counter() - start)
    num_prompt = engine.scheduler.num_prompt_tokens - before[0]
    num_reused = engine.scheduler.num_reused_tokens - before[1]
    result = {
        "requests": len(requests),
        "reused": num_reused / num_prompt,
        "p50_ms": 1e3 * statistics.median(seconds),
        "p95_ms": 1e3 * statistics.quantiles(seconds, n=20)[-1],
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"requests                  {result['requests']}")
    print(f"prompt tokens reused      {result['reused']:.1%}")
    print(f"request to 16 tokens      {result['p50_ms']:.2f} ms (median)")
    print(f"                          {result['p95_ms']:.2f} ms (95th percentile)")


if __name__ == "__main__":
    main()
