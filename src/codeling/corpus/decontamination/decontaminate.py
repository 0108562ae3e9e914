"""Decontamination: find documents that contain a problem of a benchmark.

Problem sets (HumanEval, MBPP, PandasEval …) are JSONL files, optionally gzipped, with ``task_id``,
``prompt`` and ``canonical_solution``. BigCode searches for docstrings and solutions as substrings
(``bigcode-dataset/decontamination``), GPT-3 for 13 equal words (Brown et al. 2020, appendix C).
Here a document contains a problem if one of three rules matches:

``code``
    :data:`CODE_TOKENS` consecutive tokens of the prompt's code plus a solution. Layout is ignored
    (see :mod:`codeling.corpus.decontamination.token_hashes`). Variables, parameters and functions
    may be renamed consistently ("parameterized matching", Baker 1993). Keywords, attributes,
    numbers and strings must be equal.
``function``
    The first :data:`CODE_TOKENS` tokens of a function, or all of them if it has fewer, but at least
    :data:`FUNCTION_TOKENS`. As for ``code``, and the function's name must be equal too.
``prose``
    :data:`PROSE_WORDS` consecutive words of the prompt's docstring or comments. Case is ignored.
    At least :data:`PROSE_DISTINCT` of the words must be different and made of letters.

``benchmarks/corpus/decontaminate.py`` measures recall and false positives. Renamed code is found in
two steps. A rolling hash that treats all names as equal finds candidates. Each candidate is then
hashed with every name replaced by the distance to its last use.

This module must not read a corpus, only problems.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeling.corpus.decontamination.problem_sets import Problem
from codeling.corpus.decontamination.token_hashes import (
    HashedTokens,
    HashedWords,
    hash_tokens,
    hash_words,
    word_hash,
)
from codeling.ngrams import WORD_BASE, gram_hashes, mix
from codeling.python_lexer import is_triple, literals

CODE_TOKENS = 24
"""Five or six lines. One in 2,000 files of installed packages matches such a run by chance; with 20
tokens one in 250."""
CODE_DISTINCT = 4
"""Minimum number of different keywords, operators and attributes in a run. Without it, tables of
data and lists of names match."""
FUNCTION_TOKENS = 8
"""``def f(x): return g(x)`` has 7 tokens and is too common."""
PROSE_WORDS = 10
PROSE_DISTINCT = 6
"""Minimum number of different words of three or more letters in a run. It excludes tables in
doctests and alphabets."""

Bools = NDArray[np.bool_]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Hit:
    """A problem found in a document."""

    task_id: str
    found_by: str
    """``code``, ``function`` or ``prose``."""
    start_line: int
    """First line of the first match, from 1."""
    end_line: int
    """Last line of the last match, inclusive."""


class Contamination:
    """Search index of a list of problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._names = [problem.task_id for problem in problems]
        code, self._functions = _code(problems)
        self._masked = _Table(masked for masked, _, _ in code)
        self._code = _by_hash((renamed, number) for _, renamed, number in code)
        self._function_names = _Table(self._functions)
        prose = _prose(problems)
        self._prose_runs = _Table(run for run, _ in prose)
        self._prose = _by_hash(prose)

    def search(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Problems that each of N texts contains: one hit per problem and rule, in their order."""
        found: list[dict[tuple[int, str], list[int]]] = [{} for _ in texts]

        def record(
            tokens: HashedWords, start: int, length: int, rule: str, numbers: Iterable[int]
        ) -> None:
            first_line, last_line = tokens.line(start), tokens.line(start + length - 1)
            for number in numbers:
                lines = found[tokens.text_ids[start]].setdefault((number, rule), [first_line, 0])
                lines[1] = max(lines[1], last_line)

        tokens = hash_tokens(texts)
        starts = np.flatnonzero(self._masked.contains(_masked(tokens)))
        for start, run in zip(starts, _renamed(tokens, starts, CODE_TOKENS).tolist(), strict=True):
            if run in self._code:
                record(tokens, int(start), CODE_TOKENS, "code", self._code[run])
        defs = np.flatnonzero(tokens.hashes[:-1] == _DEF)
        for start in defs[self._function_names.contains(tokens.hashes[defs + 1])]:
            for length, wanted, number in self._functions[int(tokens.hashes[start + 1])]:
                whole = tokens.text_ids[start : start + length] == tokens.text_ids[start]
                if np.count_nonzero(whole) == length:
                    at = np.array([start])
                    if int(_renamed(tokens, at, length, skip=2)[0]) == wanted:
                        record(tokens, int(start), length, "function", [number])
        words = hash_words(texts)
        runs = _runs(words.hashes, words.text_ids, PROSE_WORDS)
        for start in np.flatnonzero(self._prose_runs.contains(runs)):
            record(words, int(start), PROSE_WORDS, "prose", self._prose[int(runs[start])])
        return [
            [
                Hit(self._names[number], rule, first_line, last_line)
                for (number, rule), (first_line, last_line) in sorted(hits.items())
            ]
            for hits in found
        ]


class _Table:
    """A set of hashes with a lookup table of the low 20 bits as a prefilter."""

    def __init__(self, hashes: Iterable[int]) -> None:
        self._hashes = np.unique(np.array(list(hashes), np.uint64))
        self._low = np.zeros(1 << 20, np.bool_)
        self._low[self._hashes & _LOW] = True

    def contains(self, hashes: U64) -> Bools:
        """Mask of the ``hashes`` (H,) that are in the set."""
        found: Bools = self._low[hashes & _LOW]
        places = np.flatnonzero(found)
        if len(places):
            near = np.searchsorted(self._hashes, hashes[places])
            near = np.minimum(near, len(self._hashes) - 1)
            found[places] = self._hashes[near] == hashes[places]
        return found


def _by_hash(pairs: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for hashed, number in pairs:
        numbers = found.setdefault(hashed, [])
        if number not in numbers:
            numbers.append(number)
    return found


def _code(
    problems: Sequence[Problem],
) -> tuple[list[tuple[int, int, int]], dict[int, list[tuple[int, int, int]]]]:
    """Index the problems' code.

    Returns two indexes. Runs: (hash with all names equal, hash by last use, problem). Functions, by
    the hash of their names: (number of tokens, hash by last use, problem).
    """
    texts, numbers = [], []
    for number, problem in enumerate(problems):
        texts += [problem.prompt + solution for solution in problem.solutions]
        numbers += [number] * len(problem.solutions)
    tokens = hash_tokens(texts)
    masked = _masked(tokens)
    starts = np.array(
        [s for s in np.flatnonzero(masked).tolist() if _is_distinctive(tokens, s)], np.int64
    )
    renamed = _renamed(tokens, starts, CODE_TOKENS)
    runs = [
        (int(masked[start]), int(each), numbers[tokens.text_ids[start]])
        for start, each in zip(starts, renamed, strict=True)
    ]
    functions: dict[int, list[tuple[int, int, int]]] = {}
    bounds = np.searchsorted(tokens.text_ids, np.arange(len(texts) + 1))
    defs = np.flatnonzero(tokens.hashes == _DEF)
    for text_id, start in dict(zip(tokens.text_ids[defs[::-1]], defs[::-1], strict=True)).items():
        length = min(CODE_TOKENS, int(bounds[text_id + 1] - start))
        if length >= FUNCTION_TOKENS:
            hashed = int(_renamed(tokens, np.array([start]), length, skip=2)[0])
            name = int(tokens.hashes[start + 1])
            functions.setdefault(name, []).append((length, hashed, numbers[text_id]))
    return runs, functions


def _is_distinctive(tokens: HashedTokens, start: int) -> bool:
    """Whether a run has CODE_DISTINCT different keywords, operators and attributes."""
    run = slice(start, start + CODE_TOKENS)
    is_counted = ~(tokens.is_name[run] | tokens.is_data[run])
    return len(np.unique(tokens.hashes[run][is_counted])) >= CODE_DISTINCT


def _prose(problems: Sequence[Problem]) -> list[tuple[int, int]]:
    """Distinctive runs of words in docstrings and comments, each with its problem."""
    parts = [
        (part, number)
        for number, problem in enumerate(problems)
        for part in _prose_of(problem.prompt)
    ]
    tokens = hash_words([part for part, _ in parts])
    runs = _runs(tokens.hashes, tokens.text_ids, PROSE_WORDS).tolist()
    spelled = [word for part, _ in parts for word in _WORD.findall(part.lower())]
    found = []
    for start, run in enumerate(runs):
        window = spelled[start : start + PROSE_WORDS]
        distinct = {word for word in window if _THREE_LETTERS.search(word)}
        if run and len(distinct) >= PROSE_DISTINCT:
            found.append((run, parts[tokens.text_ids[start]][1]))
    return found


def _masked(tokens: HashedTokens) -> U64:
    """Hash of the CODE_TOKENS tokens that start at each token, (T,); all names are equal."""
    return _runs(np.where(tokens.is_name, _NAME, tokens.hashes), tokens.text_ids, CODE_TOKENS)


def _runs(codes: U64, text_ids: I64, length: int) -> U64:
    """Hash of the ``length`` codes that start at each code, (T,); 0 beyond the end of a text."""
    hashes = np.zeros(len(codes), np.uint64)
    count = len(codes) - length + 1
    if count > 0:
        whole = text_ids[:count] == text_ids[length - 1 :]
        grams = gram_hashes(codes, length)
        hashes[:count] = np.where(whole, grams | np.uint64(1), 0)
    return hashes


def _renamed(tokens: HashedTokens, starts: I64, length: int, skip: int = 0) -> U64:
    """Hash of the ``length`` tokens that start at each of ``starts``, (S,), independent of names.

    A name is replaced by the distance to its last use after the start, or by 0 if it is new. The
    first ``skip`` tokens are left out.
    """
    total = np.full(len(starts), length, np.uint64)
    for position in range(skip, length):
        at = starts + position
        known = tokens.last_use[at] >= starts
        names = np.where(known, at - tokens.last_use[at], 0).astype(np.uint64) + _NAME
        total = mix(total * WORD_BASE + np.where(tokens.is_name[at], names, tokens.hashes[at]))
    return total


def _prose_of(prompt: str) -> list[str]:
    """Docstrings and comments of a prompt; comments on adjacent lines are joined."""
    parts: list[str] = []
    last_end = -1
    for start, end, _ in literals(prompt):
        literal = prompt[start:end]
        if literal[0] == "#" and parts and not prompt[last_end:start].strip():
            parts[-1] += "\n" + literal
        elif literal[0] == "#" or is_triple(literal):
            parts.append(literal)
        else:
            continue
        last_end = end
    return parts


_WORD = re.compile(r"[0-9a-z\x80-\U0010ffff]+")
_THREE_LETTERS = re.compile(r"[a-z\x80-\U0010ffff]{3}")
_LOW = np.uint64((1 << 20) - 1)
_NAME = np.uint64(0x9E3779B97F4A7C15)
_DEF = np.uint64(word_hash("def"))
