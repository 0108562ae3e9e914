"""Problems with tests, from files in the published columns; one record for all of them.

==================  =============================================================================
HumanEval's         ``task_id prompt entry_point canonical_solution test`` (Chen et al. 2021); also
                    MBPP as mxeval publishes it, and HumanEval+ on the Hub
pandas-numpy-eval   the same; several reference solutions, and ``entry_point`` ``none`` where the
                    completion is no function but goes on with a script (Zan et al. 2022)
infilling           HumanEval's and ``suffix`` (Bavarian et al. 2022)
EvalPlus            HumanEval's with ``base_input plus_input atol`` for ``test`` (Liu et al. 2023)
MBPP, MBPP+         ``code test_list`` and ``text`` or ``prompt``, as on the Hub (Austin et al.
                    2021)
==================  =============================================================================

A prompt is given to the model to the byte, and what is run is prompt, completion and suffix with
nothing between. A row that cannot be a problem is named and left out; the others go on. One whose
test is broken stays a problem that nobody can solve, as it is in published scores: the judge names
it. Nothing is run here, and this module must not know models.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codeling.errors import InputError
from codeling.evaluation.data import evalplus
from codeling.evaluation.data.datafiles import DataFile, rows
from codeling.evaluation.sandbox import Job

SCRIPT_ENDS = ("class", "def", "#", "@", "print", "if")
"""Where a script ends: the words that PyCodeGPT's evaluation cuts at (Zan et al. 2022)."""
PROGRAM_ENDS = ('"""', "assert", "print", "if")
"""Where a whole program ends: what EvalPlus stops at for MBPP+ (Liu et al. 2023). Theirs are
``if __name__`` and ``print(``; a program of functions has no other ``if`` or ``print`` there."""
MAX_BYTES = 16 << 20
"""Of a problem's prompt, test and references together; a larger one is left out by name."""

Span = Literal["line", "span"]


@dataclass(frozen=True)
class Problem:
    """What a model is asked, and what decides whether its answer is right."""

    task_id: str
    prompt: str
    check: str
    """Python to be run after the program, in the same namespace; raises where it is wrong."""
    entry_point: str | None = None
    """The function that the check calls, as ``candidate`` or by its name; None where it looks at
    what a script leaves."""
    references: tuple[str, ...] = ()
    """Completions that are said to be right."""
    suffix: str | None = None
    """What follows the completion; None where nothing does."""
    span: Span | None = None
    """Of an infilling: one whole line, or any span."""
    script_ends: tuple[str, ...] = ()
    """Where the prompt stands in no function: what ends the completion."""

    def job(self, identifier: str, completion: str) -> Job:
        """What the sandbox is to judge."""
        return Job(identifier, self.program(completion), self.check, self.entry_point)

    def program(self, completion: str) -> str:
        """The whole source: prompt, completion, suffix, and nothing between them."""
        return f"{self.prompt}{completion}{self.suffix or ''}"

    @property
    def first_sample(self) -> int:
        """A number drawn from the name, so that problems do not share their random numbers."""
        digest = hashlib.sha256(self.task_id.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:6], "big") << 16


@dataclass(frozen=True)
class LeftOut:
    """A row that is no problem, and why."""

    name: str
    reason: str


@dataclass
class ProblemSet:
    """The problems of some files."""

    problems: list[Problem] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


class _BadRowError(ValueError):
    """Why a row is no problem."""


def read_problems(files: Sequence[DataFile]) -> ProblemSet:
    """Every problem of ``files`` in order, and every row that is none, with the reason.

    :raises InputError: a file cannot be read, or there is no problem in any of them.
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
                problem = _problem(values)
                if problem.task_id in names:
                    raise _BadRowError("its task_id is there twice")
                names.add(problem.task_id)
                found.problems.append(problem)
            except (_BadRowError, evalplus.BadInputsError) as error:
                found.left_out.append(LeftOut(name, str(error)))
    if not found.problems:
        first = found.left_out[0] if found.left_out else None
        reason = f"; {first.name}: {first.reason}" if first else ": there is no row in it"
        raise InputError(f"{files[0].path}: no problem in it{reason}")
    return found


def _problem(values: Mapping[str, Any]) -> Problem:
    problem = _form(values)(values)
    size = sum(map(len, (problem.prompt, problem.check, *problem.references)))
    if size > MAX_BYTES:
        raise _BadRowError(f"{size:,} characters; at most {MAX_BYTES:,} are read")
    for label, text in (("test", problem.check), ("prompt", problem.prompt)):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise _BadRowError(f"its {label} has a lone surrogate in it")
    return problem


def _form(values: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Problem]:
    if "plus_input" in values or "base_input" in values:
        return _evalplus
    if "test_list" in values:
        return _mbpp
    return _humaneval


def _humaneval(values: Mapping[str, Any]) -> Problem:
    task_id, prompt, test, entry_point = (
        _text(values, name) for name in ("task_id", "prompt", "test", "entry_point")
    )
    suffix = _text(values, "suffix") if "suffix" in values else None
    is_script = entry_point == "none"
    if not is_script and not entry_point.isidentifier():
        raise _BadRowError(f"its entry_point {entry_point[:40]!r} is no name")
    # Some of MBPP's functions are called check themselves; the sandbox knows them by this name too.
    called = "" if is_script else "candidate" if entry_point == "check" else entry_point
    span: Span | None = None
    if suffix is not None:
        span = "line" if task_id.startswith("SingleLine") else "span"
    return Problem(
        task_id,
        prompt,
        f"{test}\ncheck({called})\n",
        None if is_script else entry_point,
        _references(values, "canonical_solution"),
        suffix,
        span,
        SCRIPT_ENDS,
    )


def _evalplus(values: Mapping[str, Any]) -> Problem:
    task_id, prompt, entry_point, reference = (
        _text(values, name) for name in ("task_id", "prompt", "entry_point", "canonical_solution")
    )
    if not entry_point.isidentifier():
        raise _BadRowError(f"its entry_point {entry_point[:40]!r} is no name")
    check = evalplus.check(
        task_id,
        entry_point,
        prompt + reference,
        values.get("base_input"),
        values.get("plus_input"),
        values.get("atol", 0),
    )
    return Problem(task_id, prompt, check, entry_point, (reference,), script_ends=PROGRAM_ENDS)


def _mbpp(values: Mapping[str, Any]) -> Problem:
    """A row of the Hub's MBPP, its sanitized form, or MBPP+: the task as a docstring.

    The docstring is EvalPlus's: the description and the first assertion.
    """
    number = values.get("task_id")
    description = _text(values, "text" if "text" in values else "prompt")
    code = _text(values, "code")
    tests = values["test_list"]
    if not (isinstance(tests, list) and tests and all(isinstance(t, str) for t in tests)):
        raise _BadRowError("its test_list holds no assertions")
    imports = values.get("test_imports") or []
    if not (isinstance(imports, list) and all(isinstance(line, str) for line in imports)):
        raise _BadRowError("its test_imports are no list of lines")
    if isinstance(values.get("test"), str):
        check = values["test"]
    else:
        setup = values.get("test_setup_code") or ""
        check = "\n".join((*imports, str(setup), *tests))
    prompt = f'"""\n{description.strip()}\n{tests[0].strip()}\n"""\n'
    # Some are named as a builtin is, sum for one; the tests mean the program's.
    defined = re.findall(r"^def\s+(\w+)", code, re.MULTILINE)
    named = [name for name in defined if re.search(rf"\b{name}\s*\(", tests[0])]
    entry_point = named[-1] if named else None
    return Problem(
        f"Mbpp/{number}", prompt, check + "\n", entry_point, (code,), script_ends=PROGRAM_ENDS
    )


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if isinstance(value, str):
        return value
    if name not in values:
        raise _BadRowError(f"no column {name}; it has {', '.join(sorted(map(str, values)))[:200]}")
    raise _BadRowError(f"its {name} is no text")


def _references(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """None of them where the column is missing: a problem can be asked without its answer."""
    value = values.get(name)
    if value is None:
        return ()
    listed = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in listed):
        raise _BadRowError(f"its {name} is no text")
    return tuple(listed)
