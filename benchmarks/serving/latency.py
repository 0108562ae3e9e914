"""Time from a request to the full ghost text, for a person who types real files.

::

    python -m benchmarks.serving.latency runs/demo --files 3rd/party/package --requests 500
    python -m benchmarks.serving.latency runs/demo --files . --against http://127.0.0.1:8080

``--against`` sends the same requests to another server with llama.cpp's ``/infill``, such as
llama.cpp with the same weights. Prints milliseconds, and the share of prompt tokens that were in
the cache already. The last row is ``codeling lsp``, from the change of the text on.
"""

import argparse
import itertools
from pathlib import Path

from benchmarks.serving.typists import (
    Client,
    LanguageClient,
    keystrokes,
    python_files,
    quantile,
    served,
)

_WARM_UP = 20


def measure(name: str, url: str, texts: list[str], requests: int, seed: int) -> None:
    """Print one row for the server at ``url``."""
    client = Client(url)
    seconds, read, reused, shown = [], 0, 0, 0
    asking = ((prefix, suffix) for prefix, suffix, asks in keystrokes(texts, seed) if asks)
    for number, (prefix, suffix) in enumerate(itertools.islice(asking, requests + _WARM_UP)):
        taken, status, answer = client.infill(prefix, suffix, 0)
        if status != 200:
            raise SystemExit(f"{url}: status {status}: {answer}")
        if number < _WARM_UP:
            continue
        seconds.append(taken)
        read += answer["tokens_evaluated"]
        reused += answer["tokens_evaluated"] - answer["timings"]["prompt_n"]
        shown += bool(answer["content"].strip())
    print(
        f"{name:<24} {_times(seconds)}   "
        f"reused {reused / max(read, 1):6.1%}   shown {shown / len(seconds):6.1%}   "
        f"{len(seconds)} requests"
    )


def measure_lsp(model: str, texts: list[str], requests: int, seed: int, memory: str) -> None:
    """Print one row for the language server."""
    client = LanguageClient(model, "--memory", memory)
    try:
        asking = ((prefix, suffix) for prefix, suffix, asks in keystrokes(texts, seed) if asks)
        shown, seconds = 0, list[float]()
        for number, (prefix, suffix) in enumerate(itertools.islice(asking, requests + _WARM_UP)):
            taken, text = client.infill(prefix[-8000:], suffix[:2000])
            if number >= _WARM_UP:
                seconds.append(taken)
                shown += bool(text.strip())
    finally:
        client.close()
    print(f"{'codeling lsp':<24} {_times(seconds)}   shown {shown / len(seconds):6.1%}")


def _times(seconds: list[float]) -> str:
    return "   ".join(
        f"p{100 * share:.0f} {1000 * quantile(seconds, share):7.1f} ms"
        for share in (0.5, 0.95, 0.99)
    )


def main() -> None:
    """Measure the servers one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="run folder or model folder")
    parser.add_argument("--files", type=Path, required=True, help="folder with Python files")
    parser.add_argument("--requests", type=int, default=500, help="default: %(default)s")
    parser.add_argument("--against", action="append", default=[], help="URL of another server")
    parser.add_argument("--memory", default="auto", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    texts = python_files(options.files, options.seed)
    with served(options.model, "--memory", options.memory) as url:
        measure("codeling", url, texts, options.requests, options.seed)
    measure_lsp(options.model, texts, options.requests, options.seed, options.memory)
    for url in options.against:
        measure(url, url, texts, options.requests, options.seed)


if __name__ == "__main__":
    main()
