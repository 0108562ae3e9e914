"""Forward passes by another server: an OpenAI-compatible one, such as vLLM or llama.cpp.

:class:`RemoteWorker` takes the place of the :class:`~codeling.serving.engine_worker.EngineWorker`.
It sends a sequence's prompt as token ids and feeds the streamed text to the sequence. So dialects,
rules of suggestions, limits and cancellation are the same. The other server knows no memory and no
token healing. This module must not know asyncio or dialects.

Sources: OpenAI's legacy completions; vLLM's and llama.cpp's server for ``logprobs`` in a stream.
"""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ordered
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any, NamedTuple

from codeling.errors import InputError, UsageError
from codeling.generation.engine import Engine
from codeling.generation.logprobs import TokenLogprobs
from codeling.generation.sequence import Sequence, window_start
from codeling.model.folder import fim_spm_rate, read_config, resolve
from codeling.serving.client import (
    FAILURES,
    check_url,
    connect,
    error_message,
    refusal,
    request,
    send,
)
from codeling.serving.engine_worker import WorkItem, WorkUpdate
from codeling.serving.protocol.query import RequestError
from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer

_CHECK_SECONDS = 10.0
_HEALTH_SECONDS = 2.0
"""Longest wait for a sign of life, and the time that it counts."""
ENGINE_TOKEN_VARIABLE = "CODELING_ENGINE_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable with the key of the other server."""
_LLAMA_CPP_SAMPLING = {"top_k": 0, "min_p": 0.0}
"""llama.cpp samples from the 40 most likely tokens with 5 % of the best one's probability unless
it is told otherwise."""
_PROBE = "def f(x):\n    return [x, '\u00e9']\n"


class RemotePiece(NamedTuple):
    """A piece of streamed text."""

    text: str
    logprob: float | None
    """Of all its tokens, in nats; None if the server does not report it."""
    finish_reason: str | None


class RemoteServer:
    """An OpenAI-compatible server with the same model."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """:raises UsageError: ``url`` is not the address of a server."""
        check_url(url)
        self.url = url.rstrip("/").removesuffix("/v1")
        self.token = token
        self.model = ""
        self._takes_ids = True
        """Whether a prompt may be token ids. Otherwise it is text, with special tokens by name."""
        self._sampling: dict[str, Any] = {}
        """What switches off the rules of sampling that this server has and a request did not ask
        for."""
        self._health_lock = threading.Lock()
        self._now = time.monotonic
        self._health_until = -math.inf
        self._problem = ""

    def problem(self) -> str:
        """Why the server cannot be reached; empty if it answers. Asked again after two seconds."""
        with self._health_lock:
            if self._now() >= self._health_until:
                try:
                    opened = connect(self.url, _HEALTH_SECONDS)
                    send(opened, "GET", "/v1/models", None, self.token)
                    self._problem = ""
                except FAILURES as error:
                    self._problem = f"no answer from the engine at {self.url} ({error})"
                self._health_until = self._now() + _HEALTH_SECONDS
            return self._problem

    def check(self, engine: Engine) -> None:
        """Learn the model's name and what a prompt may be; compare the tokenizers.

        :raises InputError: there is no such server, or it has another tokenizer.
        """
        status, answer = self._ask("GET", "/v1/models")
        if status != 200:
            raise refusal(f"{self.url}/v1/models", status, answer, ENGINE_TOKEN_VARIABLE)
        served = answer["data"][0]
        self.model = str(served["id"])
        self._sampling = _LLAMA_CPP_SAMPLING if served.get("owned_by") == "llamacpp" else {}
        body = {"content": _PROBE, "prompt": _PROBE, "model": self.model, "add_special": False}
        status, answer = self._ask("POST", "/tokenize", body | {"add_special_tokens": False})
        ids = answer.get("tokens") if status == 200 and isinstance(answer, dict) else None
        if ids is not None and ids != engine.tokenizer.encode(_PROBE):
            raise InputError(
                f"{self.url} has another tokenizer than MODEL; give the folder of the model that "
                "it serves"
            )
        probe = {"model": self.model, "prompt": engine.tokenizer.encode(_PROBE), "max_tokens": 1}
        status, answer = self._ask("POST", "/v1/completions", probe)
        if status in (401, 403):
            raise refusal(self.url, status, answer, ENGINE_TOKEN_VARIABLE)
        self._takes_ids = status == 200

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        try:
            return send(connect(self.url, _CHECK_SECONDS), method, path, body, self.token)
        except FAILURES as error:
            if path == "/tokenize":  # not every server has it
                return 0, None
            raise InputError(f"{self.url}: no answer from a server ({error})") from error

    def connect(self, timeout_seconds: float) -> HTTPConnection:
        """A connection for one completion."""
        return connect(self.url, timeout_seconds)

    def stream(
        self, connection: HTTPConnection, sequence: Sequence, tokenizer: Tokenizer
    ) -> Iterator[RemotePiece]:
        """Yield what the server writes. Raises :data:`FAILURES`.

        :raises RequestError: the server refuses.
        """
        params = sequence.params
        ids, max_tokens = _in_context(sequence)
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": ids if self._takes_ids else _as_text(ids, tokenizer),
            "max_tokens": max_tokens,
            "temperature": params.temperature,
            "top_p": 1.0 if params.top_p is None else params.top_p,
            "seed": params.seed + sequence.request.sample,
            "stream": True,
            **self._sampling,
        }
        if params.top_k is not None:
            body["top_k"] = params.top_k
        if params.stops:
            body["stop"] = list(params.stops)
        if params.min_probability is not None or sequence.request.num_logprobs is not None:
            body["logprobs"] = 1
        request(connection, "POST", "/v1/completions", body, self.token)
        with connection.getresponse() as response:
            if response.status != 200:
                reason = error_message(json.loads(response.read()))
                raise self._failed(reason or f"status {response.status}")
            for line in response:
                data = line.strip().removeprefix(b"data:").strip()
                if line.startswith(b"data:") and data != b"[DONE]":
                    event = json.loads(data)
                    if reason := error_message(event):
                        raise self._failed(reason)
                    yield from _pieces(event)

    def _failed(self, reason: str) -> RequestError:
        return RequestError(502, f"the engine at {self.url}: {reason}")


def _in_context(sequence: Sequence) -> tuple[list[int], int]:
    """The ids to send, and how many new tokens fit the context after them.

    Other servers refuse what does not fit. The window moves in steps, for the sake of their cache;
    an infilling is cut already and must keep its beginning.
    """
    ids, limit = sequence.ids, sequence.params.max_new_tokens
    if sequence.request.suffix is None:
        room = min(limit, sequence.context_length // 2)
        ids = ids[window_start(len(ids) + room, sequence.context_length) :]
    return ids, max(1, min(limit, sequence.context_length - len(ids)))


def _as_text(ids: Ordered[int], tokenizer: Tokenizer) -> str:
    """A prompt as text, with the names of special tokens."""
    names = {each: tokenizer.name_of(each).encode() for each in tokenizer.special_ids}
    table = tokenizer.token_bytes
    return b"".join(names.get(each) or table[each] for each in ids).decode(errors="replace")


def _pieces(event: dict[str, Any]) -> Iterator[RemotePiece]:
    for choice in event.get("choices") or ():
        text, reason = str(choice.get("text") or ""), choice.get("finish_reason")
        tokens = list(_tokens(choice.get("logprobs") or {}))
        # The tokens may begin by rewriting the prompt's end, and end with a stop string.
        skipped = "".join(token for token, _ in tokens).find(text)
        if skipped < 0:
            total = sum(logprob or 0.0 for _, logprob in tokens) if tokens else None
            tokens, skipped = [(text, total)], 0
        for token, logprob in tokens:
            shown = token[skipped:][: len(text)]
            text = text[len(shown) :]
            if shown:  # of a token that rewrites the prompt's end, the rest is taken as certain
                yield RemotePiece(shown, 0.0 if skipped else logprob, None)
            skipped = max(0, skipped - len(token))
        if reason:
            yield RemotePiece("", None, str(reason))


def _tokens(logprobs: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Tokens with their log-probabilities, in the legacy form or that of chats (llama.cpp)."""
    if "tokens" in logprobs:
        yield from zip(logprobs["tokens"], logprobs["token_logprobs"], strict=False)
    for each in logprobs.get("content") or ():
        yield each["token"], each["logprob"]


class RemoteWorker:
    """Completes sequences with a :class:`RemoteServer`, each in a thread."""

    def __init__(
        self,
        engine: Engine,
        deliver: Callable[[Ordered[WorkUpdate]], None],
        server: RemoteServer,
        num_threads: int,
    ) -> None:
        """``engine`` has the tokenizer. ``deliver`` is called in the threads of this worker."""
        self._engine = engine
        self._deliver = deliver
        self._server = server
        self._threads = ThreadPoolExecutor(num_threads, "remote")
        self._vocabulary = Vocabulary(engine.tokenizer.token_bytes)
        self._sockets: dict[WorkItem, socket.socket | None] = {}
        self._lock = threading.Lock()

    @property
    def num_waiting(self) -> int:
        """Number of sequences without a thread; the server's own queue is not known."""
        return sum(connected is None for connected in list(self._sockets.values()))

    def reserve(self, num_running: int, num_recent: int) -> None:
        """There are no slots here."""

    def start(self) -> None:
        """Nothing has to be started."""

    def stop(self) -> None:
        """End all items with what they have."""
        for item in list(self._sockets):
            self.cancel(item)
        self._threads.shutdown(cancel_futures=True)

    def submit(self, item: WorkItem) -> None:
        """Queue an item."""
        with self._lock:
            self._sockets[item] = None
        self._threads.submit(self._complete, item)

    def cancel(self, item: WorkItem) -> None:
        """End an item with the text so far; the server sees its client leave."""
        with self._lock:
            connected = self._sockets.pop(item, None)
        if connected is not None:
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _complete(self, item: WorkItem) -> None:
        sequence = item.sequence
        error: BaseException | None = None
        item.admitted = time.monotonic()
        try:
            if not item.prefill_only:
                self._read(item)
        except FAILURES as failure:
            with self._lock:
                is_cancelled = item not in self._sockets
            if isinstance(failure, RequestError):
                error = failure
            elif not is_cancelled and time.monotonic() < item.deadline:
                error = RequestError(502, f"the engine at {self._server.url}: {failure}")
        except Exception as failure:
            error = failure
        with self._lock:
            self._sockets.pop(item, None)
        if sequence.finish_reason is None:
            sequence.finish("length")
        item.first_token = item.first_token or time.monotonic()
        item.ended = time.monotonic()
        self._update(item, error)

    def _read(self, item: WorkItem) -> None:
        sequence = item.sequence
        sequence.end_healing(self._engine.tokenizer.encode_bytes(sequence.pending))
        connection = self._server.connect(max(0.001, item.deadline - time.monotonic()))
        try:
            connection.connect()
            with self._lock:
                if item not in self._sockets:
                    return
                self._sockets[item] = connection.sock
            for piece in self._server.stream(connection, sequence, self._engine.tokenizer):
                item.first_token = item.first_token or time.monotonic()
                self._feed(sequence, piece)
                if sequence.finish_reason is not None or item.is_due(time.monotonic()):
                    return
                if not item.only_end:
                    self._update(item, None)
        finally:
            connection.close()

    def _feed(self, sequence: Sequence, piece: RemotePiece) -> None:
        ids = self._engine.tokenizer.encode(piece.text)
        for number, each in enumerate(ids):
            logprob = 0.0 if number or piece.logprob is None else min(0.0, piece.logprob)
            if sequence.params.min_probability is not None:
                sequence.add_probability(math.exp(logprob))
            if sequence.request.num_logprobs is not None:
                sequence.logprobs.append(TokenLogprobs(each, logprob, ()))
            sequence.append(each, self._vocabulary, self._engine.tokenizer.end_of_text)
            if sequence.finish_reason is not None:
                return
        if piece.finish_reason is not None:
            sequence.finish("length" if piece.finish_reason == "length" else "stop")

    def _update(self, item: WorkItem, error: BaseException | None) -> None:
        sequence = item.sequence
        new = tuple(sequence.logprobs[item.num_reported :])
        item.num_reported += len(new)
        done = item.ended is not None
        self._deliver([WorkUpdate(item, sequence.new_text(), new, done, error)])


class RemoteRunner:
    """Stands for a network that is elsewhere: its sizes, and no forward passes."""

    def __init__(self, server: RemoteServer, context_length: int, vocab_size: int) -> None:
        self.server = server
        self.context_length = context_length
        self.vocab_size = vocab_size
        self.device = "cpu"
        self.precision = "remote"
        self.slot_bytes = 1
        self.max_drafts = 0

    def copy(self) -> "RemoteRunner":
        """This runner itself, which has no state."""
        return self

    def reserve(self, num_slots: int) -> None:
        """There are no slots here."""

    def run(self, batch: object) -> Any:
        """:raises UsageError: always."""
        raise UsageError("the forward passes are made by the server of --engine")


def remote_engine(model: str, server: RemoteServer) -> Engine:
    """An engine with the tokenizer and sizes of ``model``; ``server`` makes its forward passes.

    :raises InputError: there is no such server, or it serves another model.
    :raises ModelError: ``model`` is not a model.
    """
    path = resolve(model)
    config = read_config(path)
    runner = RemoteRunner(server, config.context_length, config.vocab_size)
    engine = Engine(runner, Tokenizer.load(path), _no_network, fim_spm_rate(path) != 0)
    server.check(engine)
    return engine


def _no_network() -> Any:
    raise RequestError(400, "the log-probabilities of a prompt need the weights; ask the engine")
