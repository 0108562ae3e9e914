"""Queries of all clients at once: admission, cancellation and log-probabilities, on asyncio.

:class:`Service` turns a query into work items for the :class:`EngineWorker`, and their updates into
pieces and an answer. A query is refused when too many completions are in flight. The next query of
a session ends the one in progress. This module must not know HTTP or dialects.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from collections.abc import Sequence as Ordered
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial

from codeling.generation.engine import Engine
from codeling.generation.logprobs import TokenLogprobs
from codeling.generation.scoring import score
from codeling.generation.sequence import Sequence
from codeling.generation.suggestions.suggester import Suggester, SuggestionSettings
from codeling.quantity import quantity
from codeling.serving.engine_worker import EngineWorker, SequenceWorker, WorkItem, WorkUpdate
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Query,
    RequestError,
    TextPiece,
    TokenScore,
)
from codeling.serving.remote_worker import RemoteRunner, RemoteWorker
from codeling.serving.requests import (
    details_of,
    ids_to_score,
    plans,
    shown_tokens,
    token_scores,
)
from codeling.serving.settings import ServerLimits
from codeling.serving.suggest import SuggestionPlan

RETRY_SECONDS = 1
_FILE_START = 256
"""Characters at the beginning of a prompt that tell files apart, for clients without sessions."""
_SHORT = 50_000
"""Characters of a query that are encoded in the event loop, in a few milliseconds at most. Longer
ones are encoded in a thread."""


@dataclass(eq=False)
class Flight:
    """A query in progress."""

    query: Query
    client: str
    """The client's address. Sessions and equal queries are separate for each client."""
    deadline: float
    """``time.monotonic()`` at which it ends with the text so far."""
    items: dict[WorkItem, int] = field(default_factory=dict)
    """Index of the choice that each is for."""
    plans: list[SuggestionPlan] = field(default_factory=list)
    updates: asyncio.Queue[WorkUpdate] = field(default_factory=asyncio.Queue)
    is_cancelled: bool = False
    """The client has left, or its session has sent another query."""

    @property
    def affinity(self) -> str:
        """Editor or file. Queries with the same one share a cache where there are several."""
        query, first = self.query, self.query.prompts[0]
        start = first.text[:_FILE_START] or (first.ids or ())[:_FILE_START]
        return f"{self.client} {query.session or start}"

    def is_equal(self, other: "Flight") -> bool:
        """Whether the same client asks for the same."""
        if self.client != other.client:
            return False
        # Comparing the prompts first is faster: they differ in most cases.
        return self.query.prompts == other.query.prompts and self.query == other.query

    def shares_session(self, other: "Flight") -> bool:
        """Whether the query is of the same session of the same client."""
        session = self.query.session
        is_equal = session == other.query.session and self.client == other.client
        return bool(session) and is_equal


class Service:
    """Answers queries with one engine. Belongs to one event loop."""

    def __init__(self, engine: Engine, limits: ServerLimits, threshold: float = 0.0) -> None:
        """``threshold`` is the probability that the beginning of a suggestion must reach."""
        self.engine = engine
        self.suggester = Suggester(engine, SuggestionSettings(threshold))
        self.limits = limits
        self.flights: dict[Flight, None] = {}
        """Queries in progress, oldest first."""
        self._owners: dict[WorkItem, Flight] = {}
        self._worker: SequenceWorker
        if isinstance(engine.runner, RemoteRunner):
            server = engine.runner.server
            self._worker = RemoteWorker(engine, self._deliver, server, limits.max_running)
        else:
            self._worker = EngineWorker(engine, self._deliver)
        self._encoders = ThreadPoolExecutor(1, "encoder")
        self._scorers = ThreadPoolExecutor(1, "scorer")
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def num_waiting(self) -> int:
        """Number of completions that are not in a batch yet."""
        return self._worker.num_waiting

    @property
    def num_in_flight(self) -> int:
        """Number of completions that are running or waiting."""
        return sum(flight.query.num_completions for flight in self.flights)

    def problem(self) -> str:
        """Why completions will fail; empty if nothing is known to be wrong. May take seconds."""
        runner = self.engine.runner
        return runner.server.problem() if isinstance(runner, RemoteRunner) else ""

    def start(self) -> None:
        """Start the engine's thread; call this in the event loop."""
        self._loop = asyncio.get_running_loop()
        self._worker.reserve(self.limits.max_running, self.limits.max_recent)
        self._worker.start()

    def stop(self) -> None:
        """End the engine's thread. Queries in progress end with what they have."""
        self._worker.stop()
        self._encoders.shutdown(wait=False, cancel_futures=True)
        self._scorers.shutdown(wait=False, cancel_futures=True)

    async def complete(self, query: Query, client: str) -> Answer:
        """Answer a query. Cancelling the task cancels the work. Raises like :meth:`stream`."""
        async for event in self.stream(query, client):
            if isinstance(event, Answer):
                return event
        raise AssertionError("a stream ends with its answer")

    async def stream(
        self, query: Query, client: str
    ) -> AsyncGenerator[TextPiece | Choice | Answer, None]:
        """Yield pieces of text, the end of each completion, and at last the answer.

        Closing the iterator cancels the work.

        :raises RequestError: too many completions are in flight (429); the server did not get to
            this one in time (503); an id is unknown (400).
        """
        flight = self._admit(query, client)
        try:
            first_sample = self._supersede(flight)
            async with aclosing(self._events(flight, first_sample)) as events:
                async for event in events:
                    yield event
        finally:
            del self.flights[flight]
            self._cancel(flight)
            for item in flight.items:
                self._owners.pop(item, None)

    def _admit(self, query: Query, client: str) -> Flight:
        if self.num_in_flight + query.num_completions > self.limits.max_in_flight:
            raise RequestError(
                429,
                f"{quantity(self.num_in_flight, 'completion')} in progress, and the server takes "
                f"{self.limits.max_in_flight}; send the request again later",
                RETRY_SECONDS,
            )
        flight = Flight(query, client, time.monotonic() + self.limits.request_seconds)
        self.flights[flight] = None
        return flight

    def _supersede(self, flight: Flight) -> int:
        """End older queries of the same session; return the number of equal ones in progress.

        minuet-ai.nvim streams one infilling several times at once, to choose between the answers.
        """
        num_equal = 0
        query = flight.query
        is_repeatable = query.stream and query.seed is None and query.prompts[0].suffix is not None
        for other in self.flights:
            if other is flight:
                continue
            if flight.is_equal(other):
                num_equal += query.n if is_repeatable else 0
            elif flight.shares_session(other) and query.max_new_tokens:
                self._cancel(other)
        return num_equal

    def _cancel(self, flight: Flight) -> None:
        flight.is_cancelled = True
        for item in flight.items:
            if item.ended is None:
                self._worker.cancel(item)

    async def _events(
        self, flight: Flight, first_sample: int
    ) -> AsyncGenerator[TextPiece | Choice | Answer, None]:
        query = flight.query
        assert self._loop is not None, "call start() first"
        echoes = [Echo()] * len(query.prompts)
        if query.echo:
            echoes = await self._loop.run_in_executor(self._scorers, self._echo, flight)
            for index in range(query.num_completions):
                echo = echoes[index // query.n]
                yield TextPiece(index, echo.text, echo.scores)
        if query.echo and not query.max_new_tokens:
            choices = [
                _echoed(index, echoes[index // query.n]) for index in range(query.num_completions)
            ]
            for choice in choices:
                yield choice
            yield Answer(tuple(choices))
            return
        encode = partial(self._encode, query, first_sample)
        if _num_characters(query) > _SHORT:
            flight.plans, sequences = await self._loop.run_in_executor(self._encoders, encode)
        else:
            flight.plans, sequences = encode()
        done: dict[int, Choice] = {}
        for index, sequence in enumerate(sequences):
            if sequence is None:
                done[index] = _echoed(index, echoes[index // query.n])
                yield done[index]
            else:
                self._submit(flight, index, sequence)
        scores: list[list[TokenScore]] = [[] for _ in flight.plans]
        while len(done) < len(flight.plans):
            update = await flight.updates.get()
            if update.error is not None:
                raise update.error
            index = flight.items[update.item]
            sequence, plan = update.item.sequence, flight.plans[index]
            text = _new_text(update, plan)
            ids = tuple(sequence.ids[sequence.num_prompt :])
            logprobs: Ordered[TokenLogprobs | int] = update.logprobs
            if plan.shown and update.done:
                ids, logprobs = shown_tokens(sequence, text, self.engine.tokenizer)
            new = self._new_scores(sequence, logprobs, scores[index])
            if text or new:
                yield TextPiece(index, text, new)
            if update.done:
                echo = echoes[index // query.n]
                shown = text if plan.shown else sequence.output.text
                choice = self._choice(update.item, index, echo, shown, ids, scores[index])
                if query.with_details:
                    choice = replace(choice, details=details_of(sequence, plan))
                if plan.shown:
                    choice = replace(choice, is_withheld=not shown and choice.num_new > 0)
                done[index] = choice
                yield done[index]
        yield Answer(tuple(done[index] for index in sorted(done)))

    def _submit(self, flight: Flight, index: int, sequence: Sequence) -> None:
        query = flight.query
        item = WorkItem(
            sequence,
            flight.deadline,
            query.max_predict_seconds,
            only_end=not query.stream or flight.plans[index].shown is not None,
            prefill_only=query.max_new_tokens == 0,
        )
        flight.items[item] = index
        self._owners[item] = flight
        self._worker.submit(item)
        if flight.is_cancelled:
            self._worker.cancel(item)

    def _encode(
        self, query: Query, first_sample: int
    ) -> tuple[list[SuggestionPlan], list[Sequence | None]]:
        found = plans(query, self.suggester, self.limits.max_new_tokens, first_sample)
        requests = [plan.request for plan in found]
        return found, [None if each is None else self.engine.sequence(each) for each in requests]

    def _echo(self, flight: Flight) -> list["Echo"]:
        """The texts of the prompts, and their log-probabilities if the query asks for them."""
        query, tokenizer = flight.query, self.engine.tokenizer
        found = []
        for prompt in query.prompts:
            ids, num_before = ids_to_score(prompt, tokenizer)
            text = prompt.text if prompt.ids is None else tokenizer.decode(ids)
            if query.num_logprobs is None:
                found.append(Echo(text, None, len(ids)))
                continue
            scores: list[int | TokenLogprobs] = [] if num_before else list(ids[:1])
            _check_time(flight)
            for each in score(self.engine.model, ids, query.num_logprobs):
                scores.append(each)
                _check_time(flight)
            found.append(Echo(text, token_scores(scores, tokenizer, 0), len(ids)))
        return found

    def _new_scores(
        self,
        sequence: Sequence,
        logprobs: Ordered[TokenLogprobs | int],
        before: list[TokenScore],
    ) -> tuple[TokenScore, ...] | None:
        """Scores of new tokens of ``sequence``; they are added to ``before``."""
        request = sequence.request
        if request.num_logprobs is None:
            return None
        tokenizer = self.engine.tokenizer
        if before:
            last = before[-1]
            offset = last.offset + len(tokenizer.decode([last.id]))
        else:
            healed = sequence.healed.decode(errors="ignore")
            offset = len(request.prompt) - len(healed)
        new = token_scores(logprobs, tokenizer, offset)
        before += new
        return new

    def _choice(
        self,
        item: WorkItem,
        index: int,
        echo: "Echo",
        text: str,
        ids: tuple[int, ...],
        scores: Ordered[TokenScore],
    ) -> Choice:
        sequence = item.sequence
        if item.first_token is None and time.monotonic() >= item.deadline:
            raise RequestError(
                503,
                f"the server did not get to this request in {self.limits.request_seconds:.0f} s",
                RETRY_SECONDS,
            )
        ended = item.ended or item.submitted
        first = item.first_token or ended
        return Choice(
            index,
            echo.text + ("" if item.prefill_only else text),
            () if item.prefill_only else ids,
            sequence.finish_reason or "length",
            sequence.output.stop_string,
            None if sequence.request.num_logprobs is None else (*(echo.scores or ()), *scores),
            sequence.num_prompt,
            sequence.num_reused,
            first - (item.admitted or item.submitted),
            ended - first,
            num_new=0 if item.prefill_only else len(sequence.ids) - sequence.num_prompt,
        )

    def _deliver(self, updates: Ordered[WorkUpdate]) -> None:
        """Called by the worker's thread."""
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._dispatch, updates)

    def _dispatch(self, updates: Ordered[WorkUpdate]) -> None:
        for update in updates:
            flight = self._owners.get(update.item)
            if flight is not None:
                flight.updates.put_nowait(update)


def _check_time(flight: Flight) -> None:
    """:raises RequestError: nobody waits for the log-probabilities of the prompts any more."""
    if flight.is_cancelled or time.monotonic() > flight.deadline:
        raise RequestError(503, "the log-probabilities of the prompt took too long")


@dataclass(frozen=True)
class Echo:
    """A prompt as part of an answer."""

    text: str = ""
    scores: tuple[TokenScore, ...] | None = None
    num_ids: int = 0


def _new_text(update: WorkUpdate, plan: SuggestionPlan) -> str:
    """The text of an update that may be sent. What is shown of a suggestion is known at its end."""
    if update.item.prefill_only:
        return ""
    if plan.shown is None:
        return update.text
    return plan.shown(update.item.sequence) if update.done else ""


def _echoed(index: int, echo: Echo) -> Choice:
    """A choice for which nothing was generated: the prompt, if it is echoed."""
    return Choice(index, echo.text, (), "length", "", echo.scores, echo.num_ids)


def _num_characters(query: Query) -> int:
    """Number of characters, or of ids, that have to be encoded for a query."""
    sizes = (
        len(each.text) + len(each.suffix or "") + len(each.ids or ()) for each in query.prompts
    )
    return query.n * sum(sizes) + sum(len(each.text) for each in query.files)
