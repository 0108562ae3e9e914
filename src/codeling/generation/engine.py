"""A model and its tokenizer, put to work: prompts in, completions out, cached and in batches.

The laws, each a test: a prompt completed in a batch gives what it gives alone; decoding with
the cache gives the ids that full passes over the window give, past the context's end too; the
text that :meth:`Engine.stream` yields, joined, is the text that :meth:`Engine.complete` returns.

Where a prompt ends. Within a word, behind an indentation or before a line end it was cut into
tokens as no finished file is. So its last tokens are taken off where a longer one may stand, and
the next ones have to begin with their bytes (:mod:`codeling.tokenizer.healing`); the text that a
completion gives begins behind the prompt all the same. An infilling's prefix stays as it is: in
training it ends anywhere.

Past the context's end. A model with C positions cannot see more than C tokens, and learned
positions do not slide. So of N tokens it sees those from :func:`window_start` (N, C) on: all
of them while they fit; then the oldest C // 2 are dropped at once and the rest is read again
at positions 0, 1, …, which happens once in C // 2 tokens. A prompt that is too long is cut by
the same rule. An infilling cannot lose its beginning: its prefix and suffix are cut to leave
room for ``max_new_tokens`` (or half the context, if less), and it ends, with finish reason
``length``, where the context is full.

This module must not know about files other than a model folder's, nor about sockets.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from codeling.errors import TokenizerError, UsageError
from codeling.generation.cycles import Cycles
from codeling.generation.request import Completion, SamplingKwargs, SamplingParams
from codeling.generation.sampling import sample
from codeling.generation.text.decoding import CompletionText
from codeling.model import weights
from codeling.model.cache import KeyValueCache
from codeling.model.gpt2 import GPT2
from codeling.progress import SILENT, Progress
from codeling.tokenizer.healing import Healed, Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Unpack


def window_start(num_tokens: int, context_length: int) -> int:
    """The first of ``num_tokens`` tokens that the model sees; see above."""
    over = num_tokens - context_length
    step = max(1, context_length // 2)
    return 0 if over <= 0 else (over + step - 1) // step * step


class Engine:
    """Completes Python. :meth:`load` makes one from a folder."""

    def __init__(self, model: GPT2, tokenizer: Tokenizer) -> None:
        """Put ``model`` to work where its weights are, in its ``compute_dtype``.

        :raises TokenizerError: the tokenizer has more entries than the model.
        """
        if tokenizer.vocab_size > model.config.vocab_size:
            raise TokenizerError(
                f"the tokenizer has {tokenizer.vocab_size:,} entries, the model "
                f"{model.config.vocab_size:,}: they do not belong together"
            )
        self.model = model
        self.tokenizer = tokenizer
        never = torch.zeros(model.config.vocab_size, dtype=torch.bool)
        never[tokenizer.vocab_size :] = True
        never[sorted(tokenizer.special_ids - {tokenizer.end_of_text})] = True
        self._never = never
        """(V,): the ids that are never picked: special tokens within a text have no meaning."""
        self._vocabulary = Vocabulary(tokenizer.token_bytes)

    @classmethod
    def load(cls, model: str | Path, device: str = "auto") -> "Engine":
        """Read a run folder, a Hugging Face folder or ``hf://owner/name``.

        ``device`` is ``cpu``, ``cuda`` or ``auto``: an accelerator where there is one.

        :raises UsageError: ``model`` is none of these.
        :raises ModelError: the weights are broken, or of another architecture.
        :raises TokenizerError: the tokenizer is missing, broken, or belongs to another model.
        """
        folder = weights.resolve(str(model))
        tokenizer = Tokenizer.load(folder)
        network, _ = weights.load(folder)
        if weights.tokenizer_digest(folder) not in (None, tokenizer.digest):
            raise TokenizerError(
                f"{folder}: tokenizer.json is not the tokenizer that the model was trained with"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            return cls(network.to(device), tokenizer)
        except TokenizerError as error:
            raise TokenizerError(f"{folder}: {error}") from error

    def complete(
        self, prompt: str, suffix: str | None = None, **options: "Unpack[SamplingKwargs]"
    ) -> Completion:
        """Go on with ``prompt``, or fill in what stands between it and ``suffix``.

        The prompt is taken for the beginning of a file. Further keywords are the fields of
        :class:`SamplingParams`, with their defaults: greedy, at most 128 tokens.

        :raises UsageError: a value is out of range.
        :raises TokenizerError: ``suffix`` is given and the model was not made for infilling.
        """
        return self.complete_batch([prompt], [suffix], **options)[0][0]

    def complete_many(
        self, prompt: str, n: int, suffix: str | None = None, **options: "Unpack[SamplingKwargs]"
    ) -> list[Completion]:
        """``n`` samples for one prompt, which is read once. The first is :meth:`complete`'s."""
        return self.complete_batch([prompt], [suffix], n=n, **options)[0]

    def complete_batch(
        self,
        prompts: Sequence[str],
        suffixes: Sequence[str | None] | None = None,
        *,
        n: int = 1,
        batch_size: int = 32,
        first_samples: Sequence[int] | None = None,
        progress: Progress = SILENT,
        **options: "Unpack[SamplingKwargs]",
    ) -> list[list[Completion]]:
        """``n`` samples for each of many prompts, ``batch_size`` samples at a time.

        A prompt gets what it gets alone, whatever it stands beside; the samples of one prompt
        that are decoded together share its prefill. ``first_samples`` are the numbers of each
        prompt's first sample, 0 by default: with other numbers another prompt draws other
        samples from the same seed. Raises as :meth:`complete`.
        """
        settings = SamplingParams(**options)
        if n < 1 or batch_size < 1:
            raise UsageError(f"n and batch_size must be 1 or more, not {n} and {batch_size}")
        if suffixes is None:
            suffixes = [None] * len(prompts)
        if len(suffixes) != len(prompts):
            raise UsageError(f"{len(prompts)} prompts, but {len(suffixes)} suffixes")
        if first_samples is None:
            first_samples = [0] * len(prompts)
        samples = [
            [self._begin(prompt, suffix, settings, number) for number in range(first, first + n)]
            for prompt, suffix, first in zip(prompts, suffixes, first_samples, strict=True)
        ]
        # Prompts of like length stand together, so that little is padded.
        waiting = sorted((row for rows in samples for row in rows), key=lambda row: row.num_prompt)
        with progress.task("completing", total=len(waiting), unit="completions") as advance:
            for first in range(0, len(waiting), batch_size):
                for row, _ in self._decode(waiting[first : first + batch_size], settings):
                    if row.output.finish_reason is not None:
                        advance(1)
        return [[row.completion() for row in rows] for rows in samples]

    def stream(
        self, prompt: str, suffix: str | None = None, **options: "Unpack[SamplingKwargs]"
    ) -> Iterator[str]:
        """Like :meth:`complete`, piece by piece as the text becomes certain."""
        settings = SamplingParams(**options)
        row = self._begin(prompt, suffix, settings, 0)
        return (text for _, text in self._decode([row], settings) if text)

    def prepare(self, prompt: str, suffix: str | None, max_new_tokens: int) -> Healed:
        """The ids that a prompt becomes, healed; those of an infilling leave room in the context.

        Documents begin with ``<|endoftext|>`` in training, so prompts do here. An infilling is
        ``<fim_prefix>`` prefix ``<fim_suffix>`` suffix ``<fim_middle>`` (Bavarian et al. 2022,
        PSM). Where prefix and suffix do not fit, the suffix gets a quarter of the room, or what
        the prefix leaves; kept is what is nearest to the cursor.

        :raises UsageError: a text cannot be written as UTF-8.
        """
        tokenizer = self.tokenizer
        for text in (prompt, suffix or ""):
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise UsageError("the prompt or suffix has a lone surrogate in it: it is no text")
        before = tokenizer.encode(prompt)
        if suffix is None:
            return self._vocabulary.heal([tokenizer.end_of_text, *before])
        after = tokenizer.encode(suffix)
        marks = tokenizer.fim_prefix, tokenizer.fim_suffix, tokenizer.fim_middle
        context = self.model.config.context_length
        room = max(0, context - min(max_new_tokens, context // 2) - len(marks) - 1)
        num_after = min(len(after), max(room // 4, room - len(before)))
        before = before[max(0, len(before) - (room - num_after)) :]
        after = after[:num_after]
        ids = [tokenizer.end_of_text, marks[0], *before, marks[1], *after, marks[2]]
        return Healed(ids, b"")

    def _begin(
        self, prompt: str, suffix: str | None, settings: SamplingParams, number: int
    ) -> "_Row":
        healed = self.prepare(prompt, suffix, settings.max_new_tokens)
        output = CompletionText(
            prompt, settings.stops, settings.stop_at_block_end, tuple(settings.script_ends)
        )
        cycles = Cycles(healed.ids, settings.max_repeats) if settings.max_repeats else None
        return _Row(healed, number, suffix is not None, output, cycles)

    def _decode(self, rows: list["_Row"], settings: SamplingParams) -> Iterator[tuple["_Row", str]]:
        """Decode ``rows`` together until each has ended; yields what each may newly show."""
        context = self.model.config.context_length
        longest = max(row.num_prompt for row in rows)
        capacity = min(context, longest + settings.max_new_tokens)
        prompts: dict[tuple[int, ...], int] = {}
        sources = [prompts.setdefault(tuple(row.tokens), len(prompts)) for row in rows]
        cache = self._read([self._window(list(prompt)) for prompt in prompts], capacity)
        if len(prompts) < len(rows):
            cache = cache.select(sources)
        for step in range(settings.max_new_tokens):
            if step:
                self._reread(rows, cache)
            logits = self._next_logits([row.tokens[-1] for row in rows], cache)
            self._hold_to_prompts(logits, rows)
            if settings.stop_at_block_end:
                self._forbid_early_end(logits, rows)
            self._forbid_cycles(logits, rows)
            in_prose = None
            if settings.prose_temperature is not None:
                in_prose = [row.output.in_prose for row in rows]
            numbers, steps = [row.number for row in rows], [step] * len(rows)
            ids = sample(logits, settings, numbers, steps, in_prose)
            for row, picked in zip(rows, ids.tolist(), strict=True):
                yield row, self._push(row, picked, settings.max_new_tokens)
            alive = [i for i, row in enumerate(rows) if row.output.finish_reason is None]
            if not alive:
                return
            if len(alive) < len(rows):
                rows = [rows[i] for i in alive]
                cache = cache.select(alive)

    @torch.inference_mode()
    def _hold_to_prompts(self, logits: Tensor, rows: list["_Row"]) -> None:
        """Where healing took something off, only tokens that write it again may come."""
        for scores, row in zip(logits, rows, strict=True):
            if row.pending:
                allowed = torch.from_numpy(self._vocabulary.allowed(row.pending)).to(logits.device)
                kept = scores[allowed]
                scores.fill_(-torch.inf)[allowed] = kept

    @torch.inference_mode()
    def _forbid_early_end(self, logits: Tensor, rows: list["_Row"]) -> None:
        """No file ends in the middle of a string or brackets; what fills a gap may."""
        early = [i for i, row in enumerate(rows) if row.output.is_open and not row.infilling]
        logits[early, self.tokenizer.end_of_text] = -torch.inf

    @torch.inference_mode()
    def _forbid_cycles(self, logits: Tensor, rows: list["_Row"]) -> None:
        """What a row has written several times in a row it does not write once more."""
        for scores, row in zip(logits, rows, strict=True):
            if row.cycles and not row.pending and (going_on := row.cycles.going_on()):
                scores[going_on] = -torch.inf

    def _push(self, row: "_Row", picked: int, max_new_tokens: int) -> str:
        """Add an id to a row; the text that may be shown after it."""
        if picked == self.tokenizer.end_of_text:
            return row.output.finish("end_of_text")
        row.tokens.append(picked)
        if row.cycles:
            row.cycles.add(picked)
        new = self.tokenizer.token_bytes[picked][len(row.pending) :]
        row.pending = self._vocabulary.after(row.pending, picked)
        text = row.output.feed(new)
        full = row.infilling and len(row.tokens) > self.model.config.context_length
        if row.output.finish_reason is None and (full or row.num_new == max_new_tokens):
            text += row.output.finish("length")
        return text

    def _window(self, tokens: list[int]) -> list[int]:
        return tokens[window_start(len(tokens), self.model.config.context_length) :]

    @torch.inference_mode()
    def _reread(self, rows: list["_Row"], cache: KeyValueCache) -> None:
        """Fill the cache anew for the rows whose window has moved with their last token."""
        context = self.model.config.context_length
        moved = [
            i
            for i, row in enumerate(rows)
            if window_start(len(row.tokens), context) != window_start(len(row.tokens) - 1, context)
        ]
        if moved:
            windows = [self._window(rows[i].tokens) for i in moved]
            cache.replace(moved, self._read(windows, max(map(len, windows))))

    @torch.inference_mode()
    def _read(self, windows: list[list[int]], capacity: int) -> KeyValueCache:
        """Prefill: a cache of all tokens but the last of each window, in one padded pass."""
        weight = self.model.wte.weight
        cache = KeyValueCache(
            self.model.config,
            len(windows),
            capacity=capacity,
            dtype=self.model.compute_dtype,
            device=weight.device,
        )
        lengths = [len(window) - 1 for window in windows]
        longest = max(lengths)
        if longest:
            padded = [window[:-1] + [0] * (longest - len(window) + 1) for window in windows]
            self.model.hidden(torch.tensor(padded, device=weight.device), cache)
        cache.set_lengths(lengths)
        return cache

    @torch.inference_mode()
    def _next_logits(self, last_ids: list[int], cache: KeyValueCache) -> Tensor:
        """One decoding pass over the last id of each row → fp32 logits (B, V) of the next."""
        weight = self.model.wte.weight
        logits = self.model(torch.tensor(last_ids, device=weight.device)[:, None], cache)
        never = self._never.to(weight.device)
        return logits[:, -1].float().masked_fill(never, -torch.inf)  # type: ignore[no-any-return]


class _Row:
    """One sample being decoded."""

    def __init__(
        self,
        prompt: Healed,
        number: int,
        infilling: bool,
        output: CompletionText,
        cycles: Cycles | None,
    ) -> None:
        self.tokens = list(prompt.ids)
        self.num_prompt = len(self.tokens)
        self.pending = prompt.pending
        """Bytes of the prompt that its next tokens have to begin with."""
        self.number = number
        """Among the samples of its prompt."""
        self.infilling = infilling
        self.output = output
        self.cycles = cycles

    @property
    def num_new(self) -> int:
        return len(self.tokens) - self.num_prompt

    def completion(self) -> Completion:
        reason = self.output.finish_reason
        assert reason is not None, "the row has not ended"
        return Completion(self.output.text, tuple(self.tokens[self.num_prompt :]), reason)
