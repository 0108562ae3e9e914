"""Texts to counted words, exactly, in memory that does not grow with the text.

The tokenizers library cuts and counts a batch of texts on all threads; the counts of the batches
are added up here. When there are too many different words, those so far go to disk as a sorted
run, and the runs are merged at the end. If the words that there are then have more characters
than :data:`MAX_CHARACTERS`, all words that stand in the text as rarely as the last one that
would fit are left out. So which words count depends on the texts alone, not on their order.
A word here is a piece of the cut, written in ByteLevel's alphabet. This module must not know
how texts are cut or what words are for.
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
"""Of the different words that merges are learned from; they take about 60 bytes each there."""

_MAX_WORDS_HELD = 3_000_000
"""Different words that are counted in memory; about 150 bytes each."""
_BATCH_CHARACTERS = 32_000_000


def count_words(
    texts: Iterable[str], pre_tokenizer: pre_tokenizers.PreTokenizer
) -> tuple[dict[str, int], int]:
    """Each word of ``texts`` and how often it stands there, in no order that means anything, and
    how many different words were left out as too rare.

    :raises StorageError: what does not fit into memory cannot be written to the temporary folder.
    """
    held: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="codeling-words-") as name:
        runs: list[Path] = []
        with storage_errors(Path(name)):
            for batch in _batches(texts):
                held.update(_counted(batch, pre_tokenizer))
                if len(held) > _MAX_WORDS_HELD:
                    runs.append(_write_run(held, Path(name) / f"{len(runs)}"))
                    held.clear()
            if runs:
                runs.append(_write_run(held, Path(name) / f"{len(runs)}"))
                held.clear()
            return _kept(runs, held)


def _counted(texts: list[str], pre_tokenizer: pre_tokenizers.PreTokenizer) -> dict[str, int]:
    """The words of some texts, counted by the library: a trainer that learns nothing keeps them,
    and says so in its state.
    """
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=0, show_progress=False)
    core.train_from_iterator([texts], trainer)
    state: dict[str, int] = json.loads(trainer.__getstate__())["BpeTrainer"]["words"]
    return state


def _write_run(counts: Counter[str], path: Path) -> Path:
    """One word a line and its count, sorted; no word has white space in it."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{word} {counts[word]}\n" for word in sorted(counts))
    return path


def _read_run(path: Path) -> Iterator[tuple[str, int]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            word, _, count = line.rstrip("\n").partition(" ")
            yield word, int(count)


def _merged(runs: list[Path]) -> Iterator[tuple[str, int]]:
    """Every word once, in order, with its count in all runs."""
    for word, group in groupby(heapq.merge(*map(_read_run, runs)), key=itemgetter(0)):
        yield word, sum(count for _, count in group)


def _kept(runs: list[Path], held: Counter[str]) -> tuple[dict[str, int], int]:
    """Of the words of the runs, or where there are none, of those held in memory."""
    characters: Counter[int] = Counter()  # of the words that stand in the text so often
    for word, count in _merged(runs) if runs else held.items():
        characters[count] += len(word)
    total, rarest = 0, 0
    for count in sorted(characters, reverse=True):
        total += characters[count]
        if total > MAX_CHARACTERS:
            rarest = count
            break
    left_out = 0
    words: dict[str, int] = {}
    for word, count in _merged(runs) if runs else held.items():
        if count > rarest:
            words[word] = count
        else:
            left_out += 1
    return words, left_out


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
