"""Time from a request to the full ghost text, for a person who types real files.

::

    python -m benchmarks.serving.latency runs/demo --files 3rd/party/package --requests 500
    python -m benchmarks.serving.latency runs/demo --files . --llama-server build/bin/llama-server
    python -m benchmarks.serving.latency runs/demo --files . --random 12x768

Every server gets the same requests by turns: one line, at most 24 tokens, greedy. The table shows
milliseconds, the share of prompt tokens that were in the cache already, the share of answers with a
text, and the new tokens of an answer. ``codeling lsp`` is measured from the change of the text on;
it may answer with a block.

``--llama-server`` adds llama.cpp's server with the same weights in q8_0, and ours without memory
and without the threshold of probability that ends most answers early: with up to three beginnings
of a text, as always, and with one, which is the work that llama.cpp does. Ours runs on one thread.
llama.cpp reads a prompt that is longer than its batch anew at each key; ``--max-characters`` gives
it files that fit. ``--random`` takes random weights of LAYERS x WIDTH with MODEL's tokenizer and a
context of 1,024 tokens: nearly all texts have 24 tokens, so the time is an upper bound.
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.serving.llama_cpp import llama_server
from benchmarks.serving.typists import (
    Answer,
    Client,
    LanguageClient,
    keystrokes,
    python_files,
    quantile,
    served,
    served_unsure,
)
from codeling.export.hugging_face import write_model_folder
from codeling.model.config import GPT2Config
from codeling.model.folder import resolve
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

_WARM_UP = 20
_HEAD_WIDTH = 64
_CONTEXT = 1024
_NEARLY_GREEDY = 0.01
"""A temperature at which the most likely token is picked, and one text is written."""

Infill = Callable[[str, str], Answer]


def measure(
    sides: dict[str, Infill], texts: list[str], requests: int, seed: int
) -> dict[str, list[Answer]]:
    """The answers of each side to the same ``requests``, by turns."""
    answers: dict[str, list[Answer]] = {name: [] for name in sides}
    asking = ((prefix, suffix) for prefix, suffix, asks in keystrokes(texts, seed) if asks)
    for number, (prefix, suffix) in enumerate(itertools.islice(asking, requests + _WARM_UP)):
        for name, infill in sides.items():
            answer = infill(prefix, suffix)
            if number >= _WARM_UP:
                answers[name].append(answer)
    return answers


def row(name: str, answers: list[Answer]) -> str:
    """One line of the table."""
    seconds = [each.seconds for each in answers]
    times = " | ".join(f"{1000 * quantile(seconds, share):.1f}" for share in (0.5, 0.95, 0.99))
    num_prompt = sum(each.num_prompt for each in answers)
    num_shown = sum(bool(each.text.strip()) for each in answers)
    if num_prompt:
        reused = f"{sum(each.num_reused for each in answers) / num_prompt:.1%}"
        tokens = f"{sum(each.num_new for each in answers) / len(answers):.1f}"
    else:
        reused = tokens = ""
    return f"| {name} | {times} | {reused} | {num_shown / len(answers):.1%} | {tokens} |"


@contextmanager
def random_model(model: str, shape: str) -> Iterator[str]:
    """A folder with random weights of ``shape`` and the tokenizer of ``model``."""
    num_layers, width = map(int, shape.split("x"))
    tokenizer = Tokenizer.load(resolve(model))
    config = GPT2Config(tokenizer.vocab_size, _CONTEXT, num_layers, width // _HEAD_WIDTH, width)
    network = GPT2(config).eval()
    network.initialize(0)
    with tempfile.TemporaryDirectory() as folder:
        write_model_folder(Path(folder), network, tokenizer, "# Random weights\n")
        yield folder


@contextmanager
def language_client(model: str, memory: str) -> Iterator[LanguageClient]:
    """A client of ``codeling lsp``."""
    client = LanguageClient(model, "--memory", memory)
    try:
        yield client
    finally:
        client.close()


def main() -> None:
    """Measure all servers and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="run folder or model folder")
    parser.add_argument("--files", type=Path, required=True, help="folder with Python files")
    parser.add_argument("--max-characters", type=int, help="use only the beginning of each file")
    parser.add_argument("--requests", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="llama.cpp's binary")
    parser.add_argument(
        "--llama-threads", type=int, nargs="+", default=[1], help="one server each (default: 1)"
    )
    parser.add_argument("--random", metavar="LAYERSxWIDTH", help="random weights of this shape")
    parser.add_argument(
        "--memory", nargs="+", default=["auto"], help="one server each (default: auto)"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    texts = [text[: options.max_characters] for text in python_files(options.files, options.seed)]
    sides: dict[str, Infill] = {}
    with ExitStack() as stack:
        model, memories = options.model, options.memory
        if options.random:
            model, memories = stack.enter_context(random_model(model, options.random)), ["off"]
        for memory in memories:
            url = stack.enter_context(served(model, "--memory", memory))
            sides[f"codeling serve --memory {memory}"] = Client(url).infill
        client = stack.enter_context(language_client(model, memories[0]))
        sides[f"codeling lsp --memory {memories[0]}"] = client.infill
        if options.random or options.llama_server:
            for name, temperature in (("up to 3 texts", 0.0), ("1 text", _NEARLY_GREEDY)):
                url = stack.enter_context(served_unsure(model))
                sides[f"codeling serve, any probability, {name}"] = Client(url, temperature).infill
        if options.llama_server:
            for threads in options.llama_threads:
                url = stack.enter_context(llama_server(options.llama_server, model, threads))
                sides[f"llama.cpp, q8_0, threads: {threads}"] = Client(url).infill
        answers = measure(sides, texts, options.requests, options.seed)
    print("| side | p50, ms | p95, ms | p99, ms | reused | with text | new tokens |")
    print("|---|" + "---:|" * 6)
    for name, found in answers.items():
        print(row(name, found))


if __name__ == "__main__":
    main()
