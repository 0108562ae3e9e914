"""The inference engine: prompts in, completions out.

:meth:`Engine.step` is schedule, run, postprocess: the scheduler plans which tokens are read, the
runner reads them, and the next ids are picked. :meth:`Engine.complete`,
:meth:`Engine.complete_batch` and :meth:`Engine.stream` are loops over it. A server runs a loop of
its own with :meth:`Engine.add` and :meth:`Engine.abort`. An engine belongs to one thread.

Laws, each a test. A prompt gets the same completion in a batch as alone, independent of when it was
added and of aborted sequences. Decoding with the cache gives the same ids as full passes over the
window, also beyond the context length. The pieces that :meth:`Engine.stream` yields add up to the
text that :meth:`Engine.complete` returns.

Token healing. A prompt that ends within a word, after indentation or before a line end is tokenized
differently from a complete file. So its last tokens are removed if a longer token is possible, and
the next tokens must start with their bytes (:mod:`codeling.tokenizer.healing`). The text of the
completion still starts after the prompt.

Context length. Learned positions cannot slide, so the window moves in coarse steps
(:func:`~codeling.generation.sequence.window_start`). An infilling must keep its beginning: its
prefix and suffix are cut to leave space for ``max_new_tokens``
(:mod:`codeling.generation.prompts`), and it ends with finish reason ``length`` when the context is
full.

This module must not know torch, sockets or files other than a model folder's.
"""

import ctypes
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Ordered
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from codeling.errors import TokenizerError, UsageError
from codeling.generation.memory import Memory
from codeling.generation.picking import Picker
from codeling.generation.prompts import arrange, encode_texts, last_part
from codeling.generation.request import (
    MAX_SAMPLES,
    Completion,
    Request,
    SamplingKwargs,
    SamplingParams,
)
from codeling.generation.runners import Runner
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner
from codeling.generation.runners.weight_cache import load_int8
from codeling.generation.scheduler import CPU_BATCH_TOKENS, MAX_BATCH_TOKENS, Scheduler
from codeling.generation.sequence import Sequence
from codeling.model.device import find_device
from codeling.model.folder import (
    fim_spm_rate,
    read_config,
    read_tensors,
    resolve,
    tokenizer_digest,
)
from codeling.progress import SILENT, Progress
from codeling.quantity import quantity
from codeling.tokenizer.healing import Healed, Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from codeling.model.gpt2 import GPT2

_PRECISIONS = ("auto", "fp32", "int8")

_NUM_SLOTS = 8
"""Number of slots kept for recent sequences, whose prefixes may be reused."""


class Engine:
    """Completes Python code. :meth:`load` reads a model from a folder."""

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer,
        load_model: "Callable[[], GPT2] | None" = None,
        suffix_first: bool = True,
    ) -> None:
        """Complete with ``runner``; ``load_model`` loads the network for :attr:`model`.

        ``suffix_first`` is the order of infillings (:mod:`codeling.generation.prompts`).

        :raises TokenizerError: when the tokenizer has more entries than the model.
        """
        if tokenizer.vocab_size > runner.vocab_size:
            raise TokenizerError(
                f"the tokenizer has {tokenizer.vocab_size:,} entries, the model "
                f"{runner.vocab_size:,}: they do not belong together"
            )
        self.runner = runner
        self.memory: Memory | None = None
        """Changes the model's distribution, for requests from now on."""
        self.suffix_first = suffix_first
        self._load_model = load_model
        self._model: GPT2 | None = None
        self.tokenizer = tokenizer
        num_tokens = CPU_BATCH_TOKENS if runner.device == "cpu" else MAX_BATCH_TOKENS
        self.scheduler = Scheduler(0, num_tokens, runner.max_drafts)
        self._vocabulary = Vocabulary(tokenizer.token_bytes)
        self._picker = Picker(tokenizer, self._vocabulary, runner.vocab_size, self._branch)

    @classmethod
    def from_model(cls, model: "GPT2", tokenizer: Tokenizer, suffix_first: bool = True) -> "Engine":
        """Complete with a network in memory, on its device. Raises like the constructor."""
        from codeling.generation.runners.torch import TorchRunner

        return cls(TorchRunner(model), tokenizer, lambda: model, suffix_first)

    def copy(self) -> "Engine":
        """An engine with the same weights and slots of its own, for another thread."""
        copy = type(self)(
            self.runner.copy(), self.tokenizer, self._load_model, suffix_first=self.suffix_first
        )
        copy.memory = self.memory.copy() if self.memory else None
        return copy

    @property
    def model(self) -> "GPT2":
        """The network, for uses other than completions. Loaded on first access."""
        if self._model is None:
            assert self._load_model is not None, "the engine was created without load_model"
            self._model = self._load_model()
        return self._model

    @classmethod
    def load(cls, model: str | Path, device: str = "auto", precision: str = "auto") -> "Engine":
        """Read a run folder, a Hugging Face folder or ``hf://owner/name``.

        ``device`` is ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or ``auto`` (CUDA if available).
        ``precision`` of the weights is ``fp32``, ``int8`` (CPU only), or ``auto``: int8 on a CPU.

        :raises UsageError: when an argument is none of these.
        :raises ModelError: when the weights are corrupt or of another architecture.
        :raises TokenizerError: when the tokenizer is missing, corrupt or of another model.
        """
        path = resolve(str(model))
        if device == "auto":
            device = "cuda" if _has_cuda() else "cpu"
        if precision not in _PRECISIONS:
            raise UsageError(f"precision must be auto, fp32 or int8, not {precision!r}")
        if device != "cpu":  # which needs no torch
            find_device(device)
            if precision == "int8":
                raise UsageError(f"int8 needs a CPU; use --device cpu, not {device}")
        tokenizer = Tokenizer.load(path)
        if not tokenizer.has_digest(tokenizer_digest(path)):
            raise TokenizerError(
                f"{path}: tokenizer.json is not the tokenizer that the model was trained with"
            )
        suffix_first = fim_spm_rate(path) != 0
        try:
            if device == "cpu":
                config = read_config(path)
                if precision == "fp32":
                    weights = convert(config, read_tensors(path, config))
                else:
                    weights = load_int8(path, config)
                runner = FastRunner(weights)
                return cls(runner, tokenizer, lambda: _load_network(path, "cpu"), suffix_first)
            return cls.from_model(_load_network(path, device), tokenizer, suffix_first)
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from error

    def complete(
        self, prompt: str, suffix: str | None = None, **options: "Unpack[SamplingKwargs]"
    ) -> Completion:
        """Continue ``prompt``, or fill in the gap between it and ``suffix``.

        The prompt is the beginning of a file. ``options`` are the fields of
        :class:`SamplingParams`; the defaults are greedy and at most 128 tokens.

        :raises UsageError: when a value is out of range or of the wrong type.
        :raises TokenizerError: when ``suffix`` is given and the model was not trained for
            infilling.
        """
        if "n" in options:
            raise UsageError("complete() gives one completion; complete_many(prompt, n) gives n")
        request = Request(prompt, suffix, SamplingParams(**options))
        return self.complete_requests([request])[0]

    def complete_many(
        self, prompt: str, n: int, suffix: str | None = None, **options: "Unpack[SamplingKwargs]"
    ) -> list[Completion]:
        """Return ``n`` samples for one prompt. The first equals :meth:`complete`'s result."""
        return self.complete_batch([prompt], [suffix], n=n, **options)[0]

    def complete_batch(
        self,
        prompts: Ordered[str],
        suffixes: Ordered[str | None] | None = None,
        *,
        n: int = 1,
        batch_size: int = 32,
        first_samples: Ordered[int] | None = None,
        progress: Progress = SILENT,
        **options: "Unpack[SamplingKwargs]",
    ) -> list[list[Completion]]:
        """Return ``n`` samples for each prompt, at most ``batch_size`` at the same time.

        ``first_samples`` are the indices of each prompt's first sample, 0 by default. Another index
        gives other samples for the same seed. Raises like :meth:`complete`.
        """
        params = SamplingParams(**options)
        for name, number in (("n", n), ("batch_size", batch_size)):
            if not isinstance(number, int) or isinstance(number, bool):
                raise UsageError(f"{name} must be an integer, not {number!r}")
        if n < 1 or batch_size < 1:
            name, number = ("n", n) if n < 1 else ("batch_size", batch_size)
            raise UsageError(f"{name} must be 1 or more, not {number}")
        if n > MAX_SAMPLES:
            raise UsageError(f"n must be at most {MAX_SAMPLES:,}, not {n:,}")
        for name, texts in (("prompts", prompts), ("suffixes", suffixes)):
            if isinstance(texts, str | bytes):
                raise UsageError(f"{name} must be a list of strings, not one string")
        if suffixes is None:
            suffixes = [None] * len(prompts)
        if len(suffixes) != len(prompts):
            raise UsageError(
                f"{quantity(len(prompts), 'prompt')}, but {quantity(len(suffixes), 'suffix')}"
            )
        if first_samples is None:
            first_samples = [0] * len(prompts)
        if len(first_samples) != len(prompts):
            raise UsageError(
                f"{quantity(len(prompts), 'prompt')}, but {len(first_samples)} first_samples"
            )
        requests = [
            Request(prompt, suffix, params, number)
            for prompt, suffix, first in zip(prompts, suffixes, first_samples, strict=True)
            for number in range(first, first + n)
        ]
        done = self.complete_requests(requests, batch_size, progress)
        return [done[first : first + n] for first in range(0, len(done), n)]

    def complete_requests(
        self, requests: Ordered[Request], batch_size: int = 32, progress: Progress = SILENT
    ) -> list[Completion]:
        """Return one completion per request, at most ``batch_size`` at the same time.

        :raises UsageError: when a text cannot be encoded as UTF-8.
        :raises TokenizerError: when a request has a suffix and the model was not trained for
            infilling.
        """
        sequences = [self.sequence(request) for request in requests]
        # Prompts of similar length run together, to reduce padding.
        waiting = iter(sorted(sequences, key=lambda sequence: sequence.num_prompt))
        self.reserve(batch_size)
        running: list[Sequence] = []
        try:
            with progress.task("completing", len(sequences), "completions") as advance:
                while True:
                    for sequence in waiting:
                        self._queue(sequence)
                        running.append(sequence)
                        if len(running) == batch_size:
                            break
                    if not running:
                        break
                    self.step()
                    num_before = len(running)
                    running = [each for each in running if each.finish_reason is None]
                    advance(num_before - len(running))
        finally:
            for sequence in running:
                self.abort(sequence)
        return [sequence.completion() for sequence in sequences]

    def stream(
        self, prompt: str, suffix: str | None = None, **options: "Unpack[SamplingKwargs]"
    ) -> Iterator[str]:
        """Like :meth:`complete`, but yield pieces of text as they become certain."""
        return self.stream_sequence(
            self.sequence(Request(prompt, suffix, SamplingParams(**options)))
        )

    def stream_sequence(self, sequence: Sequence) -> Iterator[str]:
        """Pieces of the text of ``sequence``; its finish reason is set at the end."""
        self.reserve(1)
        self._queue(sequence)
        try:
            while True:
                if text := sequence.new_text():
                    yield text
                elif sequence.finish_reason is not None:  # possibly in a step of another stream
                    return
                else:
                    self.step()
        finally:
            self.abort(sequence)

    def add(self, request: Request | Sequence) -> Sequence:
        """Queue a request, which advances with each :meth:`step`. Raises like :meth:`complete`.

        A server encodes the request in another thread with :meth:`sequence` and adds the result.
        """
        sequence = request if isinstance(request, Sequence) else self.sequence(request)
        self.reserve(sequence.params.num_branches)
        self._queue(sequence)
        return sequence

    def abort(self, sequence: Sequence) -> None:
        """Remove an unfinished sequence. Must not be called during a step."""
        for each in (sequence, *sequence.branches):
            self.scheduler.abort(each)

    def step(self) -> list[Sequence]:
        """Run one step of all sequences; return those that, or whose branches, got tokens."""
        batch = self.scheduler.schedule()
        if not batch.rows:
            return []
        try:
            self._picker.pick_all(self.runner.run(batch), batch)
        except BaseException:
            self.scheduler.reset()  # it is unknown which slots were written
            raise
        self.scheduler.postprocess(batch)
        return list(dict.fromkeys(sequence.root for sequence in batch.picking))

    def _branch(self, sequence: Sequence, token: int, probability: float) -> None:
        """Follow another first token of ``sequence`` too."""
        branch = sequence.branch()
        self._queue(branch)
        branch.add_probability(probability)
        branch.append(token, self._vocabulary, self.tokenizer.end_of_text)
        if branch.has_ended:
            self.scheduler.abort(branch)

    def prepare(self, prompt: str, suffix: str | None, max_new_tokens: int) -> Healed:
        """Encode a prompt; see :func:`~codeling.generation.prompts.encode_prompt`."""
        texts = encode_texts(self.tokenizer, prompt, suffix, self.runner.context_length)
        return self._arrange(*texts, max_new_tokens)

    def _arrange(self, before: list[int], after: list[int] | None, max_new_tokens: int) -> Healed:
        return arrange(
            self.tokenizer,
            self._vocabulary,
            before,
            after,
            context_length=self.runner.context_length,
            max_new_tokens=max_new_tokens,
            suffix_first=self.suffix_first,
        )

    def sequence(self, request: Request) -> Sequence:
        """Encode a request, for :meth:`add`. Any thread may call this."""
        tokenizer, context_length = self.tokenizer, self.runner.context_length
        before, after = encode_texts(tokenizer, request.prompt, request.suffix, context_length)
        healed = self._arrange(before, after, request.params.max_new_tokens)
        prompt = last_part(request.prompt, tokenizer, context_length)
        if prompt is not request.prompt:
            request = replace(request, prompt=prompt)
        sequence = Sequence(request, healed, context_length)
        if self.memory is not None:
            document = self._vocabulary.without_end(before, len(healed.pending))
            sequence.document = [tokenizer.end_of_text, *document], after or []
            sequence.files = self.memory.read(request.files)
        return sequence

    def _queue(self, sequence: Sequence) -> None:
        """Add an encoded request, in the engine's thread."""
        if self.memory is not None:
            record = sequence.params.record_sources
            sequence.memory = self.memory.open(
                *sequence.document, record=record, files=sequence.files
            )
        self.scheduler.add(sequence)

    def reserve(self, num_running: int, num_recent: int = _NUM_SLOTS) -> None:
        """Reserve slots for ``num_running`` sequences and ``num_recent`` ended ones.

        Those of ended ones are for the next sequences that begin like them. Slots are never fewer.
        """
        num_slots = num_running + num_recent
        if num_slots > self.scheduler.num_slots:
            self.runner.reserve(num_slots)
            self.scheduler.grow(num_slots)


def _load_network(path: Path, device: str) -> "GPT2":
    from codeling.model import weights

    return weights.load(path)[0].to(device)


def _has_cuda() -> bool:
    """Whether torch can use a GPU. Without a driver, torch is not imported."""
    for driver in ("libcuda.so.1", "nvcuda.dll", "libamdhip64.so"):
        with suppress(OSError):
            ctypes.CDLL(driver)
            import torch

            return torch.cuda.is_available()
    return False
