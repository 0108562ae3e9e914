"""Problems with tests, from files in the published columns; one record for all of them.

==================  =============================================================================
HumanEval's         ``task_id prompt entry_point canonical_solution test`` (Chen et al. 2021); also
                    MBPP as mxeval publishes it, and HumanEval+ on the Hub
pandas-numpy-eval   the same; several reference solutions, and ``entry_point`` ``none`` where the
                    completion continues a script instead of a function (Zan et al. 2022)
infilling           HumanEval's and ``suffix`` (Bavarian et al. 2022)
EvalPlus            HumanEval's with ``base_input plus_input atol`` for ``test`` (Liu et al. 2023)
MBPP, MBPP+         ``code test_list`` and ``text`` or ``prompt``, as on the Hub (Austin et al.
                    2021)
==================  =============================================================================

The model gets the prompt byte for byte; the program is prompt, completion and suffix with nothing
between them. A row that is not a problem is named and left out. A problem with a broken test is
kept, as in published scores, although no answer can pass; the judge names it. Nothing is run here,
and this module must not know models.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from codeling.errors import InputError
from codeling.evaluation.data import evalplus
from codeling.evaluation.data.datafiles import DataFile, rows
from codeling.evaluation.sandbox import Job
from codeling.quantity import quantity

SCRIPT_ENDS = ("class", "def", "#", "@", "print", "if")
"""A script ends before these words, as in PyCodeGPT's evaluation (Zan et al. 2022)."""
PROGRAM_ENDS = ('"""', "assert", "print", "if")
"""A whole program ends before these words: EvalPlus's stop strings for MBPP+ (Liu et al. 2023).
EvalPlus has ``if __name__`` and ``print(``; a program of functions has no other ``if`` or ``print``
at the margin."""
MAX_BYTES = 16 << 20
"""Prompt, test and references together; larger problems are named and left out."""

Span = Literal["line", "span"]


@dataclass(frozen=True)
class CodingProblem:
    """A prompt, and the test that decides whether a completion is right."""

    task_id: str
    prompt: str
    check: str
    """Python that runs after the program, in the same namespace; raises if the program is wrong."""
    entry_point: str | None = None
    """The function that the check calls, as ``candidate`` or by its name; None where the check
    reads the variables of a script."""
    references: tuple[str, ...] = ()
    """Reference completions."""
    suffix: str | None = None
    """Text after the completion of an infilling; else None."""
    span: Span | None = None
    """Kind of an infilling: one whole line, or any span."""
    script_ends: tuple[str, ...] = ()
    """Words that end the completion where the prompt is not inside a function."""
    file: str = ""
    """Name of the file it is from."""

    def job(self, identifier: str, completion: str) -> Job:
        """The sandbox's job for ``completion``."""
        return Job(identifier, self.program(completion), self.check, self.entry_point)

    def program(self, completion: str) -> str:
        """Prompt, completion and suffix, with nothing between them."""
        return f"{self.prompt}{completion}{self.suffix or ''}"

    @property
    def first_sample(self) -> int:
        """Number of the first sample, from the name: problems do not share random numbers."""
        digest = hashlib.sha256(self.task_id.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:6], "big") << 16


@dataclass(frozen=True)
class LeftOut:
    """A row that is not a problem, and why."""

    name: str
    reason: str


@dataclass
class ProblemSet:
    """The problems of some files."""

    problems: list[CodingProblem] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def limited(self, limit: int) -> "ProblemSet":
        """The first ``limit`` problems, taken in turn from each file, in their order."""
        rank_in_file: Counter[str] = Counter()
        ranks = []
        for index, problem in enumerate(self.problems):
            ranks.append((rank_in_file[problem.file], index))
            rank_in_file[problem.file] += 1
        selected = sorted(index for _, index in sorted(ranks)[:limit])
        return ProblemSet([self.problems[index] for index in selected], self.left_out)


class _BadRowError(ValueError):
    """Why a row is not a problem."""


def read_problems(files: Sequence[DataFile]) -> ProblemSet:
    """Every problem of ``files`` in order, and every other row with the reason.

    :raises InputError: a file cannot be read, or no file has a problem.
    """
    found = ProblemSet()
    names: set[str] = set()
    for file in files:
        for number, values in rows(file):
            name = f"{file.name}: row {number}"
            try:
                if values is None:
                    raise _BadRowError("not a JSON object")
                name = f"{name} ({values['task_id']})" if "task_id" in values else name
                problem = replace(_problem(values), file=file.name)
                if problem.task_id in names:
                    raise _BadRowError("its task_id is not unique")
                names.add(problem.task_id)
                found.problems.append(problem)
            except (_BadRowError, evalplus.BadInputsError) as error:
                found.left_out.append(LeftOut(name, str(error)))
    if not found.problems:
        first = found.left_out[0] if found.left_out else None
        reason = f"; {first.name}: {first.reason}" if first else ": it has no rows"
        raise InputError(f"{files[0].path}: no problem found{reason}")
    return found


def _problem(values: Mapping[str, Any]) -> CodingProblem:
    problem = _reader(values)(values)
    size = sum(map(len, (problem.prompt, problem.check, *problem.references)))
    if size > MAX_BYTES:
        raise _BadRowError(f"{quantity(size, 'character')}; at most {MAX_BYTES:,} are read")
    for label, text in (("test", problem.check), ("prompt", problem.prompt)):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _BadRowError(f"its {label} contains a lone surrogate")
    return problem


def _reader(values: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], CodingProblem]:
    if "plus_input" in values or "base_input" in values:
        return _evalplus
    if "test_list" in values:
        return _mbpp
    return _humaneval


def _humaneval(values: Mapping[str, Any]) -> CodingProblem:
    task_id, prompt, test, entry_point = (
        _text(values, name) for name in ("task_id", "prompt", "test", "entry_point")
    )
    suffix = _text(values, "suffix") if "suffix" in values else None
    is_script = entry_point == "none"
    if not is_script and not entry_point.isidentifier():
        raise _BadRowError(f"its entry_point {entry_point[:40]!r} is not an identifier")
    # Some of MBPP's functions are called check, like the test; the sandbox also binds candidate.
    called = "" if is_script else "candidate" if entry_point == "check" else entry_point
    span: Span | None = None
    if suffix is not None:
        span = "line" if task_id.startswith("SingleLine") else "span"
    return CodingProblem(
        task_id,
        prompt,
        f"{test}\ncheck({called})\n",
        None if is_script else entry_point,
        _references(values, "canonical_solution"),
        suffix,
        span,
        SCRIPT_ENDS,
    )


def _evalplus(values: Mapping[str, Any]) -> CodingProblem:
    task_id, prompt, entry_point, reference = (
        _text(values, name) for name in ("task_id", "prompt", "entry_point", "canonical_solution")
    )
    if not entry_point.isidentifier():
        raise _BadRowError(f"its entry_point {entry_point[:40]!r} is not an identifier")
    check = evalplus.check(
        task_id,
        entry_point,
        prompt + reference,
        values.get("base_input"),
        values.get("plus_input"),
        values.get("atol", 0),
    )
    return CodingProblem(
        task_id, prompt, check, entry_point, (reference,), script_ends=PROGRAM_ENDS
    )


def _mbpp(values: Mapping[str, Any]) -> CodingProblem:
    """A row of the Hub's MBPP, its sanitized form, or MBPP+.

    The prompt is EvalPlus's docstring: the description and the first assertion.
    """
    number = values.get("task_id")
    description = _text(values, "text" if "text" in values else "prompt")
    code = _text(values, "code")
    tests = values["test_list"]
    if not (isinstance(tests, list) and tests and all(isinstance(t, str) for t in tests)):
        raise _BadRowError("its test_list has no assertions")
    imports = values.get("test_imports") or []
    if not (isinstance(imports, list) and all(isinstance(line, str) for line in imports)):
        raise _BadRowError("its test_imports are not a list of lines")
    if isinstance(values.get("test"), str):
        check = values["test"]
    else:
        setup = values.get("test_setup_code") or ""
        check = "\n".join((*imports, str(setup), *tests))
    prompt = f'"""\n{description.strip()}\n{tests[0].strip()}\n"""\n'
    # Some functions have the name of a builtin, such as sum; the tests mean the program's.
    defined = re.findall(r"^def\s+(\w+)", code, re.MULTILINE)
    named = [name for name in defined if re.search(rf"\b{name}\s*\(", tests[0])]
    entry_point = named[-1] if named else None
    return CodingProblem(
        f"Mbpp/{number}", prompt, check + "\n", entry_point, (code,), script_ends=PROGRAM_ENDS
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, str):
        return value
    if name not in values:
        raise _BadRowError(f"no column {name}; it has {', '.join(sorted(map(str, values)))[:200]}")
    raise _BadRowError(f"its {name} is not text")


def _references(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The reference solutions; empty where the column is missing."""
    value = values.get(name)
    if value is None:
        return ()
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in listed):
        raise _BadRowError(f"its {name} is not text")
    return tuple(listed)
