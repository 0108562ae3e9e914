"""Many people who type at once: how long they wait, from 1 to 64 of them.

::

    python -m benchmarks.serving.load runs/demo --files 3rd/party/package --seconds 10

Each person types about five keys per second, sixty words per minute, and waits for the answer where
an editor asks. What they type is prepared before the clock starts. Prints one row per number of
people: answers, refused requests, milliseconds until the full ghost text, the fewest answers that
one person got, the share of the context's prompt tokens that were in the cache, and the server's
processor time per answer (Linux). ``--plot FILE`` draws the rows.
"""

import argparse
import asyncio
import itertools
import json
import random
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.process_tree import processor_seconds
from benchmarks.serving.typists import (
    infill_body,
    keystrokes,
    python_files,
    quantile,
    served_process,
)

KEYS_PER_SECOND = 5.0
CROWDS = (1, 2, 4, 8, 16, 32, 64)


class Waited(NamedTuple):
    """What one person got."""

    seconds: list[float]
    num_refused: int
    num_prompt: int
    num_reused: int


def prepare(texts: list[str], number: int, seconds: float, token: str = "") -> list[bytes | None]:
    """Requests of one person, one per key; None where an editor does not ask."""
    keys = itertools.islice(keystrokes(texts, number), int(2 * KEYS_PER_SECOND * seconds) + 10)
    return [
        _request(prefix, suffix, number, token) if asks else None for prefix, suffix, asks in keys
    ]


def _request(prefix: str, suffix: str, slot: int, token: str) -> bytes:
    body = json.dumps(infill_body(prefix, suffix, slot)).encode()
    head = (
        "POST /infill HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def type_on(url: str, keys: list[bytes | None], number: int, seconds: float) -> Waited:
    """Type until the time is over."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    generator = random.Random(number)
    latencies: list[float] = []
    num_refused = num_prompt = num_reused = 0
    end = time.monotonic() + seconds
    await asyncio.sleep(generator.random() / KEYS_PER_SECOND)
    for request in keys:
        began = time.monotonic()
        if began > end:
            break
        if request is not None:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            answer = json.loads(await reader.readexactly(length))
            if head.startswith(b"HTTP/1.1 200"):
                latencies.append(time.monotonic() - began)
                context_length = answer["generation_settings"]["n_ctx"]
                num_prompt += min(answer["tokens_evaluated"], context_length)
                num_reused += answer["timings"]["cache_n"]
            else:
                num_refused += 1
        gap = generator.expovariate(KEYS_PER_SECOND) - (time.monotonic() - began)
        await asyncio.sleep(max(0.0, gap))
    writer.close()
    return Waited(latencies, num_refused, num_prompt, num_reused)


async def crowd(url: str, texts: list[str], people: int, seconds: float) -> list[Waited]:
    """Let ``people`` type at once."""
    prepared = [prepare(texts, number, seconds) for number in range(people)]
    typing = (type_on(url, keys, number, seconds) for number, keys in enumerate(prepared))
    return await asyncio.gather(*typing)


def main() -> None:
    """Measure each number of people in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="run folder or model folder")
    parser.add_argument("--files", type=Path, required=True, help="folder with Python files")
    parser.add_argument("--seconds", type=float, default=10.0, help="per row (%(default)s)")
    parser.add_argument("--people", type=int, nargs="+", default=CROWDS, help="rows (%(default)s)")
    parser.add_argument("--memory", default="auto", help="default: %(default)s")
    parser.add_argument("--plot", type=Path, help="SVG file")
    options = parser.parse_args()
    texts = python_files(options.files, 0)
    rows = []
    with served_process(options.model, "--memory", options.memory) as (url, pid):
        for people in options.people:
            before = processor_seconds(pid)
            waited = asyncio.run(crowd(url, texts, people, options.seconds))
            used = processor_seconds(pid) - before
            latencies = [each for one in waited for each in one.seconds]
            p50, p95, p99 = (1000 * quantile(latencies, share) for share in (0.5, 0.95, 0.99))
            rows.append((people, p50, p95))
            reused = sum(one.num_reused for one in waited) / sum(one.num_prompt for one in waited)
            print(
                f"{people:3} people   {len(latencies) / options.seconds:5.0f} answers/s   "
                f"{sum(one.num_refused for one in waited):3} refused   p50 {p50:6.1f} ms   "
                f"p95 {p95:6.1f} ms   p99 {p99:6.1f} ms   "
                f"fewest answers to one {min(len(one.seconds) for one in waited)}   "
                f"reused {reused:.1%}   processor {1000 * used / len(latencies):.1f} ms",
                flush=True,
            )
    if options.plot:
        _draw(rows, options.plot)


def _draw(rows: list[tuple[int, float, float]], path: Path) -> None:
    from matplotlib import pyplot

    people = [row[0] for row in rows]
    for column, name in ((1, "p50"), (2, "p95")):
        pyplot.plot(people, [row[column] for row in rows], marker="o", label=name)
    pyplot.xscale("log", base=2)
    pyplot.xticks(people, map(str, people))
    pyplot.xlabel("people typing")
    pyplot.ylabel("ms until the full ghost text")
    pyplot.legend()
    pyplot.savefig(path)


if __name__ == "__main__":
    main()
