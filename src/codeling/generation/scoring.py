"""Log-probabilities of given ids, such as a text that the model did not write.

Ids that exceed the context are read in windows that advance by half a context. Every id is scored
exactly once, and after the first window with at least half a context before it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

from codeling.cores import usable_cores
from codeling.generation.logprobs import TokenLogprobs, most_likely
from codeling.generation.runners.fast import FastRunner
from codeling.generation.scheduler import CPU_BATCH_TOKENS, Row

if TYPE_CHECKING:
    from codeling.generation.engine import Engine
    from codeling.model.gpt2 import GPT2

_BATCH_SIZE = 16
"""Windows of one pass in torch."""


class Window(NamedTuple):
    """A part of a document that is read at once."""

    inputs: Sequence[int]
    """(T,)."""
    targets: Sequence[int]
    """(T,): the id that follows each input."""
    num_context: int
    """Leading targets that are not scored."""


class Scorer(Protocol):
    """A network that gives log-probabilities to texts."""

    @property
    def context_length(self) -> int:
        """Maximum number of inputs of a window."""

    @property
    def precision(self) -> str:
        """Type of the weights: ``float32`` or ``int8``."""

    def nats(self, windows: Sequence[Window]) -> list[float]:
        """Cross entropy in nats of the scored targets of each window.

        That of a window does not depend on the others, up to rounding.
        """


def scorer_of(engine: "Engine") -> Scorer:
    """Score with the weights of ``engine``: on a CPU in its precision, elsewhere in fp32."""
    runner = engine.runner
    return FastScorer(runner) if isinstance(runner, FastRunner) else TorchScorer(engine.model)


class FastScorer:
    """Scores on a CPU, a window on each core. Equal windows get equal nats, bit for bit."""

    def __init__(self, runner: FastRunner) -> None:
        self.context_length = runner.context_length
        self.precision = runner.precision
        self._num_threads = usable_cores()
        self._free: SimpleQueue[FastRunner] = SimpleQueue()
        for _ in range(self._num_threads):
            self._free.put(runner.copy())

    def nats(self, windows: Sequence[Window]) -> list[float]:
        """See :class:`Scorer`."""
        with ThreadPoolExecutor(self._num_threads, "scorer") as pool:
            return list(pool.map(self._nats, windows))

    def _nats(self, window: Window) -> float:
        runner = self._free.get()
        try:
            runner.reserve(1)
            total = 0.0
            for start in range(0, len(window.inputs), CPU_BATCH_TOKENS):
                ids = [*window.inputs[start : start + CPU_BATCH_TOKENS]]
                targets = window.targets[max(start, window.num_context) : start + len(ids)]
                total += float(runner.token_nats(Row(0, start, ids, len(targets)), targets).sum())
            return total
        finally:
            self._free.put(runner)


class TorchScorer:
    """Scores on the device of a model in fp32, in batches of windows padded on the right."""

    precision = "float32"

    def __init__(self, model: "GPT2", batch_size: int = _BATCH_SIZE) -> None:
        """The batch size affects only speed and memory."""
        self.context_length = model.config.context_length
        self._model = model
        self._batch_size = batch_size

    def nats(self, windows: Sequence[Window]) -> list[float]:
        """See :class:`Scorer`."""
        import torch

        order = sorted(range(len(windows)), key=lambda number: len(windows[number].inputs))
        found = [0.0] * len(windows)
        before, self._model.compute_dtype = self._model.compute_dtype, torch.float32
        try:
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                scores = self._score([windows[number] for number in batch])
                for number, nats in zip(batch, scores, strict=True):
                    found[number] = nats
        finally:
            self._model.compute_dtype = before
        return found

    def _score(self, batch: Sequence[Window]) -> list[float]:
        """Nats of each window of a batch, in one pass."""
        import torch

        device = self._model.wte.weight.device
        longest = max(len(window.inputs) for window in batch)
        ids = torch.zeros(2, len(batch), longest, dtype=torch.int64)
        scored = torch.zeros(len(batch), longest, dtype=torch.bool)
        for row, window in enumerate(batch):
            length = len(window.inputs)
            ids[0, row, :length] = torch.tensor(window.inputs)
            ids[1, row, :length] = torch.tensor(window.targets)
            scored[row, window.num_context : length] = True
        inputs, targets = ids.to(device)
        nats = self._model.token_nats(inputs, targets, wanted=scored.to(device))
        found: list[float] = nats.cpu().double().sum(dim=1).tolist()
        return found


def windows(num_tokens: int, context_length: int) -> Iterator[tuple[int, int, int]]:
    """The windows over a document of ``num_tokens``, as ``(begin, end, first)``.

    With one more token before the document, a window reads positions ``begin`` to ``end`` - 1
    and predicts the tokens with the same numbers; it scores those from ``first`` on.
    """
    begin, end = 0, min(num_tokens, context_length)
    first = 0
    while first < num_tokens:
        yield begin, end, first
        begin, first = begin + max(1, context_length // 2), end
        end = min(num_tokens, begin + context_length)


def score(model: "GPT2", ids: Sequence[int], num_top: int) -> Iterator[TokenLogprobs]:
    """Score each of ``ids`` but the first, with the ``num_top`` most likely ids in its place."""
    import torch

    device = model.wte.weight.device
    for begin, end, first in windows(len(ids) - 1, model.config.context_length):
        with torch.inference_mode():
            hidden = model.hidden(torch.tensor([ids[begin:end]], device=device))
            logits = model.head(hidden[0, first - begin :]).float().cpu().numpy()
        for row, target in zip(logits, ids[first + 1 : end + 1], strict=True):
            yield most_likely(row, target, num_top)
