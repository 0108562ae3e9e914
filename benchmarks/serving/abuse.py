"""A thousand bad requests while four people type: statuses, memory, and how long the four wait.

::

    python -m benchmarks.serving.abuse runs/demo --files 3rd/party/package

The kinds: bodies that are too large, malformed or deeply nested; numbers out of range; wrong types;
bodies that arrive slowly or never; sockets closed at once; a wrong Host, a foreign Origin and a
wrong token; and 500 connections that say nothing. Fails on a status other than 4xx, 429 and 503, on
memory above 110 %, and on a p99 above three times the quiet one.
"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.process_tree import memory
from benchmarks.serving.load import Waited, prepare, type_on
from benchmarks.serving.typists import python_files, quantile, served_process

_PEOPLE, _MANY = 4, 64
_ROUTES = ("/v1/completions", "/infill", "/completion", "/api/generate", "/v1/chat/completions")
_NUM_IDLE = 500


def _head(length: int, path: str, **headers: str) -> bytes:
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json"} | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def _body(values: object) -> Callable[[random.Random], tuple[bytes, dict[str, str]]]:
    data = values if isinstance(values, bytes) else json.dumps(values).encode()
    return lambda generator: (data, {})


def _with_headers(**headers: str) -> Callable[[random.Random], tuple[bytes, dict[str, str]]]:
    data = json.dumps({"prompt": "x", "n_predict": 1, "max_tokens": 1}).encode()
    return lambda generator: (data, headers)


_KINDS = {
    "too large": _body(b'{"prompt": "' + b"x" * (5 << 20) + b'"}'),
    "malformed": _body(b'{"prompt": '),
    "nested": _body(b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "NaN": _body(b'{"prompt": "x", "input_prefix": "x", "temperature": NaN}'),
    "1e308": _body({"prompt": "x", "temperature": 1e308, "options": {"temperature": 1e308}}),
    "n = 10^9": _body({"prompt": "x", "n": 10**9, "n_cmpl": 10**9, "options": 10**9}),
    "wrong types": _body({"prompt": {"x": []}, "input_prefix": 1, "messages": "x"}),
    "wrong Host": _with_headers(Host="evil.example"),
    "foreign Origin": _with_headers(Origin="https://evil.example"),
    "wrong token": _with_headers(Authorization="Bearer wrong"),
}


async def _send(url: str, kind: str, generator: random.Random, token: str) -> str:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    path = generator.choice(_ROUTES)
    try:
        if kind == "slow body":
            writer.write(_head(100, path, Authorization=f"Bearer {token}") + b"{")
        elif kind == "half-closed":
            writer.write(_head(100, path, Authorization=f"Bearer {token}") + b"{")
            writer.write_eof()
        else:
            data, headers = _KINDS[kind](generator)
            headers = {"Authorization": f"Bearer {token}"} | headers
            writer.write(_head(len(data), path, **headers))
            writer.write(data)
        with suppress(ConnectionError):
            await writer.drain()
        head = await asyncio.wait_for(reader.readline(), 30)
        return head.split()[1].decode() if head else "closed"
    except ConnectionError:
        return "closed"
    finally:
        writer.close()


def attack_alone(url: str, token: str, requests: int, seconds: float) -> Counter[tuple[str, str]]:
    """:func:`attack` in a process of its own, so that the four people's clocks are not held up."""
    return asyncio.run(attack(url, token, requests, seconds))


async def attack(url: str, token: str, requests: int, seconds: float) -> Counter[tuple[str, str]]:
    """Send the bad requests, evenly over ``seconds``; statuses by kind."""
    kinds = [*_KINDS, "slow body", "half-closed"]
    found: Counter[tuple[str, str]] = Counter()

    async def one(number: int) -> None:
        await asyncio.sleep(seconds * number / requests)
        kind = kinds[number % len(kinds)]
        status = await _send(url, kind, random.Random(number), token)
        found[kind, status] += 1

    parts = urlsplit(url)
    idle = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(_NUM_IDLE)]
    await asyncio.gather(*(one(number) for number in range(requests)))
    for _, writer in idle:
        writer.close()
    return found


async def _typing(
    url: str, texts: list[str], people: int, seconds: float, token: str
) -> list[Waited]:
    prepared = [prepare(texts, number, seconds, token) for number in range(people)]
    typing = (type_on(url, keys, number, seconds) for number, keys in enumerate(prepared))
    return await asyncio.gather(*typing)


def _p99(waited: list[Waited]) -> float:
    return 1000 * quantile([each for one in waited for each in one.seconds], 0.99)


def main() -> None:
    """Measure without and with the attack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="run folder or model folder")
    parser.add_argument("--files", type=Path, required=True, help="folder with Python files")
    parser.add_argument("--requests", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, help="default: %(default)s")
    options = parser.parse_args()
    texts = python_files(options.files, 0)
    token = "a token of the benchmark"  # noqa: S105
    with served_process(options.model, token=token) as (url, pid):
        # Warm, with all of the server's processes.
        asyncio.run(_typing(url, texts, _MANY, options.seconds / 2, token))
        quiet = asyncio.run(_typing(url, texts, _PEOPLE, options.seconds, token))
        before, _ = memory(pid)
        with ProcessPoolExecutor(1, get_context("spawn")) as other:
            other.submit(int).result()  # started
            bad = other.submit(attack_alone, url, token, options.requests, options.seconds)
            attacked = asyncio.run(_typing(url, texts, _PEOPLE, options.seconds, token))
            statuses = bad.result()
        after, _ = memory(pid)
    for (kind, status), number in sorted(statuses.items()):
        print(f"{kind:16} {status:7} {number:5}")
    print(f"memory {before / 1e6:.0f} -> {after / 1e6:.0f} MB ({after / before - 1:+.1%})")
    print(f"p99 of four people {_p99(quiet):.1f} ms quiet, {_p99(attacked):.1f} ms attacked")
    bad_statuses = {status for _, status in statuses} - {"closed", "503"}
    if any(not status.startswith("4") for status in bad_statuses):
        raise SystemExit(f"unexpected statuses: {sorted(bad_statuses)}")
    if after > 1.1 * before or _p99(attacked) > 3 * _p99(quiet):
        raise SystemExit("memory or waiting is above the limit")


if __name__ == "__main__":
    main()
