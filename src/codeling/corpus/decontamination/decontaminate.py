"""Which documents hold a problem that a model will be tested on.

A problem set is given as its own file (HumanEval, MBPP, PandasEval … as JSONL, gzipped or not,
with ``task_id``, ``prompt`` and ``canonical_solution``). BigCode looks for docstrings and
solutions as substrings (``bigcode-dataset/decontamination``), GPT-3 for 13 words in a row
(Brown et al. 2020, appendix C). Here a document holds a problem where one of these is found:

``code``
    :data:`CODE_TOKENS` tokens in a row of the prompt's code and a solution. Layout counts as
    nothing (see :mod:`codeling.corpus.decontamination.token_hashes`), and variables, parameters
    and functions may have other names, each replaced throughout ("parameterized matching",
    Baker 1993). Keywords, attributes, numbers and strings have to be the same.
``function``
    The beginning of a function, up to as many tokens, of at least :data:`FUNCTION_TOKENS` where
    it is shorter: as before, but its own name has to be the same, too.
``prose``
    :data:`PROSE_WORDS` words in a row of the prompt's docstring or comments, in any case; so
    many of them different and of letters as :data:`PROSE_DISTINCT` says.

What of this is found and what is found by mistake is measured by
``benchmarks/corpus/decontaminate.py``. Renamed code is found in two steps: a rolling hash to which
all names are one finds candidates, and these alone are hashed with every name as the distance to
its last use. This module must not read a corpus, only problems.
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
"""Five or six lines. At 20 one in 250 files of installed packages holds such a run by chance,
at 24 one in 2,000."""
CODE_DISTINCT = 4
"""A run counts only with so many different keywords, operators and attributes: without this
rule tables of data and lists of names are found instead of programs."""
FUNCTION_TOKENS = 8
"""``def f(x): return g(x)`` has 7, and is everywhere."""
PROSE_WORDS = 10
PROSE_DISTINCT = 6
"""A run of words counts only with so many different ones of three letters or more, so that
tables in doctests and alphabets do not."""

Bools = NDArray[np.bool_]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Hit:
    """A problem found in a document, and where."""

    task_id: str
    found_by: str
    """``code``, ``function`` or ``prose``."""
    start_line: int
    """Of the first that was found, from 1."""
    end_line: int
    """Of the last that was found."""


class Contamination:
    """Problems, made ready once to be looked for in many documents."""

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
        """The problems that each of N texts holds, one hit a problem and way, in their order."""
        found: list[dict[tuple[int, str], list[int]]] = [{} for _ in texts]

        def note(
            cut: HashedWords, start: int, length: int, way: str, numbers: Iterable[int]
        ) -> None:
            first_line, last_line = cut.line(start), cut.line(start + length - 1)
            for number in numbers:
                lines = found[cut.owners[start]].setdefault((number, way), [first_line, 0])
                lines[1] = max(lines[1], last_line)

        cut = hash_tokens(texts)
        starts = np.flatnonzero(self._masked.among(_masked(cut)))
        for start, run in zip(starts, _renamed(cut, starts, CODE_TOKENS).tolist(), strict=True):
            if run in self._code:
                note(cut, int(start), CODE_TOKENS, "code", self._code[run])
        defs = np.flatnonzero(cut.hashes[:-1] == _DEF)
        for start in defs[self._function_names.among(cut.hashes[defs + 1])]:
            for length, wanted, number in self._functions[int(cut.hashes[start + 1])]:
                whole = cut.owners[start : start + length] == cut.owners[start]
                if np.count_nonzero(whole) == length:
                    at = np.array([start])
                    if int(_renamed(cut, at, length, skip=2)[0]) == wanted:
                        note(cut, int(start), length, "function", [number])
        said = hash_words(texts)
        runs = _runs(said.hashes, said.owners, PROSE_WORDS)
        for start in np.flatnonzero(self._prose_runs.among(runs)):
            note(said, int(start), PROSE_WORDS, "prose", self._prose[int(runs[start])])
        return [
            [
                Hit(self._names[number], way, first_line, last_line)
                for (number, way), (first_line, last_line) in sorted(hits.items())
            ]
            for hits in found
        ]


class _Table:
    """A set of hashes; a table of the low 20 bits is asked first."""

    def __init__(self, hashes: Iterable[int]) -> None:
        self._hashes = np.unique(np.array(list(hashes), np.uint64))
        self._low = np.zeros(1 << 20, np.bool_)
        self._low[self._hashes & _LOW] = True

    def among(self, hashes: U64) -> Bools:
        """Which of ``hashes`` (H,) are in the set."""
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
    """What to look for in code.

    Runs, as their hash with all names one, their hash by last use, and the problem; and by the
    hash of their names the functions' beginnings: number of tokens, hash by last use, problem.
    """
    texts, numbers = [], []
    for number, problem in enumerate(problems):
        texts += [problem.prompt + solution for solution in problem.solutions]
        numbers += [number] * len(problem.solutions)
    cut = hash_tokens(texts)
    masked = _masked(cut)
    starts = np.array([s for s in np.flatnonzero(masked).tolist() if _is_telling(cut, s)], np.int64)
    renamed = _renamed(cut, starts, CODE_TOKENS)
    runs = [
        (int(masked[start]), int(each), numbers[cut.owners[start]])
        for start, each in zip(starts, renamed, strict=True)
    ]
    functions: dict[int, list[tuple[int, int, int]]] = {}
    bounds = np.searchsorted(cut.owners, np.arange(len(texts) + 1))
    defs = np.flatnonzero(cut.hashes == _DEF)
    for owner, start in dict(zip(cut.owners[defs[::-1]], defs[::-1], strict=True)).items():
        length = min(CODE_TOKENS, int(bounds[owner + 1] - start))
        if length >= FUNCTION_TOKENS:
            hashed = int(_renamed(cut, np.array([start]), length, skip=2)[0])
            name = int(cut.hashes[start + 1])
            functions.setdefault(name, []).append((length, hashed, numbers[owner]))
    return runs, functions


def _is_telling(cut: HashedTokens, start: int) -> bool:
    """Whether a run has CODE_DISTINCT different keywords, operators, builtins, attributes."""
    run = slice(start, start + CODE_TOKENS)
    return len(np.unique(cut.hashes[run][~(cut.is_name[run] | cut.is_data[run])])) >= CODE_DISTINCT


def _prose(problems: Sequence[Problem]) -> list[tuple[int, int]]:
    """The runs of words in docstrings and comments that are worth looking for, and the problem."""
    parts = [
        (part, number)
        for number, problem in enumerate(problems)
        for part in _prose_of(problem.prompt)
    ]
    cut = hash_words([part for part, _ in parts])
    runs = _runs(cut.hashes, cut.owners, PROSE_WORDS).tolist()
    spelled = [word for part, _ in parts for word in _WORD.findall(part.lower())]
    found = []
    for start, run in enumerate(runs):
        told = {word for word in spelled[start : start + PROSE_WORDS] if _TOLD.search(word)}
        if run and len(told) >= PROSE_DISTINCT:
            found.append((run, parts[cut.owners[start]][1]))
    return found


def _masked(cut: HashedTokens) -> U64:
    """Hash of the CODE_TOKENS tokens from each one on, (T,), all names being one."""
    return _runs(np.where(cut.is_name, _NAME, cut.hashes), cut.owners, CODE_TOKENS)


def _runs(codes: U64, owners: I64, length: int) -> U64:
    """Hash of ``length`` codes from each one on, (T,); 0 where they run out of their text."""
    hashes = np.zeros(len(codes), np.uint64)
    count = len(codes) - length + 1
    if count > 0:
        whole = owners[:count] == owners[length - 1 :]
        grams = gram_hashes(codes, length)
        hashes[:count] = np.where(whole, grams | np.uint64(1), 0)
    return hashes


def _renamed(cut: HashedTokens, starts: I64, length: int, skip: int = 0) -> U64:
    """Hash of ``length`` tokens from each of ``starts`` (S,) on, names by their last use.

    A name counts as the distance to its last use after the start, or as new. The first
    ``skip`` tokens do not count at all.
    """
    total = np.full(len(starts), length, np.uint64)
    for position in range(skip, length):
        at = starts + position
        known = cut.last_use[at] >= starts
        names = np.where(known, at - cut.last_use[at], 0).astype(np.uint64) + _NAME
        total = mix(total * WORD_BASE + np.where(cut.is_name[at], names, cut.hashes[at]))
    return total


def _prose_of(prompt: str) -> list[str]:
    """The docstrings and comments of a prompt; comments on neighboring lines are one."""
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
_TOLD = re.compile(r"[a-z\x80-\U0010ffff]{3}")
_LOW = np.uint64((1 << 20) - 1)
_NAME = np.uint64(0x9E3779B97F4A7C15)
_DEF = np.uint64(word_hash("def"))
