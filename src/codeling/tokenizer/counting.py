"""Count words exactly, in memory that does not grow with the text.

The tokenizers library cuts and counts batches of texts on all threads; their counts are summed
here. If there are too many distinct words, the counts so far are written to disk as a sorted run,
and the runs are merged at the end. If the distinct words then have more than
:data:`MAX_CHARACTERS` characters, all words are dropped that are as rare as the first one that does
not fit. So the result depends on the texts alone, not on their order. A word is a piece of the
pre-tokenizer, written in ByteLevel's alphabet. This module must not know how texts are cut or what
words are for.
"""

import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from codeling.errors import storage_errors

MAX_CHARACTERS = 32_000_000
"""Characters of all distinct words that merges are learned from, at about 60 bytes each."""

_MAX_WORDS_HELD = 3_000_000
"""Distinct words that are counted in memory, at about 150 bytes each."""
_BATCH_CHARACTERS = 32_000_000


def count_words(
    texts: Iterable[str], pre_tokenizer: pre_tokenizers.PreTokenizer
) -> tuple[dict[str, int], int]:
    """Count each word of ``texts``, in no particular order.

    Also returns the number of distinct words that were dropped as too rare.

    :raises StorageError: counts that do not fit into memory cannot be written to disk.
    """
    held: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="codeling-words-") as name:
        runs: list[Path] = []
        with storage_errors(Path(name)):
            for batch in _batches(texts):
                held.update(_count_batch(batch, pre_tokenizer))
                if len(held) > _MAX_WORDS_HELD:
                    runs.append(_write_run(held, Path(name) / f"{len(runs)}"))
                    held.clear()
            if runs:
                runs.append(_write_run(held, Path(name) / f"{len(runs)}"))
                held.clear()
            return _drop_rare(runs, held)


def _count_batch(texts: list[str], pre_tokenizer: pre_tokenizers.PreTokenizer) -> dict[str, int]:
    """Count the words of a batch with the library: the state of a trainer contains them."""
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=0, show_progress=False)
    core.train_from_iterator([texts], trainer)
    state: dict[str, int] = json.loads(trainer.__getstate__())["BpeTrainer"]["words"]
    return state


def _write_run(counts: Counter[str], path: Path) -> Path:
    """Write one word and its count per line, sorted. Words contain no white space."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{word} {counts[word]}\n" for word in sorted(counts))
    return path


def _read_run(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            word, _, count = line.rstrip("\n").partition(" ")
            yield word, int(count)


def _merged(runs: list[Path]) -> Iterator[tuple[str, int]]:
    """Yield each word of all runs once, sorted, with its total count."""
    for word, group in groupby(heapq.merge(*map(_read_run, runs)), key=itemgetter(0)):
        yield word, sum(count for _, count in group)


def _drop_rare(runs: list[Path], held: Counter[str]) -> tuple[dict[str, int], int]:
    """Drop the rarest words of the runs, or of those in memory if there are no runs."""
    characters: Counter[int] = Counter()  # of all words with this count
    for word, count in _merged(runs) if runs else held.items():
        characters[count] += len(word)
    total, rarest = 0, 0
    for count in sorted(characters, reverse=True):
        total += characters[count]
        if total > MAX_CHARACTERS:
            rarest = count
            break
    num_dropped = 0
    words: dict[str, int] = {}
    for word, count in _merged(runs) if runs else held.items():
        if count > rarest:
            words[word] = count
        else:
            num_dropped += 1
    return words, num_dropped


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
