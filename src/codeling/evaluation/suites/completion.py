"""The suite ``completion``: the next line, and the next block, of functions the model never saw.

Of each function, in an order drawn from the seed, two places are drawn: a line of its body, before
which the model is asked for the line, and a statement of its body, before which it is asked for
the rest of the function. A line ends at its line end, a block where the function does
(:mod:`codeling.generation.text.blocks`); one that ran out of tokens is cut after its last whole
logical line. Compared are texts without trailing blanks; ``parses`` says whether the function is
Python with the completion in place of what stood there, and a blank completion never counts as
such. This module must not know where the functions come from.
"""

import ast
import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeling.errors import InputError
from codeling.evaluation.data.contamination import TrainingCorpus, look_up, summary
from codeling.evaluation.data.document_sample import Located, in_drawn_order, place_hash
from codeling.evaluation.journal import Journal
from codeling.evaluation.metrics.similarity import edit_similarity, identifier_f1, identifiers
from codeling.evaluation.parse_rate import as_in_its_file, decorators, parse
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.suites.functional import Sampling
from codeling.generation.engine import Engine
from codeling.generation.text.blocks import cut_at_block_end, cut_unfinished
from codeling.progress import SILENT, Progress

Kind = Literal["line", "block"]
MAX_BYTES = 4096
"""A function that is longer is left out: a place in it would hardly fit into a small context."""
MIN_TARGET = 3
"""Characters; a line of fewer, as a bracket alone, says nothing."""


@dataclass(frozen=True)
class Case:
    """One place in a function."""

    kind: Kind
    prompt: str
    """All before the place; ends with a line feed."""
    target: str
    """What stands there, without trailing blanks."""
    rest: str
    """What follows the target in the function."""


def measure(
    engine: Engine,
    functions: Iterable[Located],
    sampling: Sampling,
    journal: Journal,
    *,
    limit: int,
    corpus: TrainingCorpus | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Ask for a line and a block of ``limit`` functions; scores, and a record of each answer.

    :raises InputError: there is no function to ask about.
    """
    in_order = in_drawn_order(functions, sampling.seed)
    usable = ((f, found) for f in in_order if (found := cases(f, sampling.seed)))
    chosen = list(itertools.islice(usable, limit))
    if not chosen:
        raise InputError("completion: there is no Python function to ask about")
    records = journal.map_groups_with_bar(
        chosen,
        "functions",
        sampling.batch_size,
        lambda group: list(_answer(engine, group, sampling, corpus)),
        progress,
    )
    return {
        "num_problems": len(records),
        "num_functions": len(chosen),
        "scores": scores(records, _VALUES, sampling.seed),
        "contamination": summary(corpus, records),
        "problems": records,
    }


def _of(kind: Kind, key: str) -> Value:
    def value(record: Record) -> float | None:
        found = record[key] if record["kind"] == kind else None
        return None if found is None else float(found)

    return value


_VALUES: list[tuple[str, Value]] = [
    (f"{name}, next {kind}", _of(kind, key))
    for kind in ("line", "block")
    for name, key in (
        ("exact match", "exact_match"),
        ("edit similarity", "edit_similarity"),
        ("parse rate", "parses"),
        ("identifiers right", "identifiers_right"),
        ("identifier F1", "identifier_f1"),
    )
]


def cases(function: Located, seed: int) -> list[Case]:
    """The line and the block that are asked for of one function; none where it is no function.

    Which ones is drawn from the seed and the function's place alone.
    """
    text = textwrap.dedent(function.text.replace("\r\n", "\n").replace("\r", "\n")).rstrip()
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return []
    tree = parse(text)
    if tree is None or len(tree.body) != 1:
        return []
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    body = definition.body[ast.get_docstring(definition, clean=False) is not None :]
    if not body or _first_line(body[0]) == definition.lineno:
        return []  # nothing but a docstring, or on the line of the signature
    lines = as_in_its_file(text, definition.body[0].col_offset).split("\n")
    number = place_hash(function, seed)
    found = []
    if places := _lines(lines, tree, _first_line(body[0])):
        found.append(_case("line", lines, places[number % len(places)]))
    starts = sorted({_first_line(statement) for statement in body})
    first = number // 2**64 % len(starts)
    blocks = (_case("block", lines, place) for place in starts[first:] + starts[:first])
    found += itertools.islice((block for block in blocks if _has_an_end(block)), 1)
    return found


def _has_an_end(block: Case) -> bool:
    """Whether the prompt says which block is asked for.

    It does not after a nested definition, which may go on for all it says.
    """
    return cut_at_block_end(block.prompt, block.target + "\n").rstrip() == block.target


def _case(kind: Kind, lines: Sequence[str], place: int) -> Case:
    """The case before line ``place``, from 1."""
    end = place if kind == "line" else len(lines)
    return Case(
        kind,
        "".join(f"{line}\n" for line in lines[: place - 1]),
        "\n".join(lines[place - 1 : end]).rstrip(),
        "\n".join(lines[end:]),
    )


def _first_line(statement: ast.stmt) -> int:
    return min([statement.lineno, *(each.lineno for each in decorators(statement))])


def _lines(lines: Sequence[str], tree: ast.Module, first: int) -> list[int]:
    """Lines of the body that can be asked for: with code, and not within a string."""
    within = {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for number in range(node.lineno + 1, (node.end_lineno or node.lineno) + 1)
    }
    return [
        number
        for number, line in enumerate(lines, start=1)
        if number >= first
        and number not in within
        and len(line.strip()) >= MIN_TARGET
        and not line.lstrip().startswith("#")
    ]


def _answer(
    engine: Engine,
    group: Sequence[tuple[Located, Sequence[Case]]],
    sampling: Sampling,
    corpus: TrainingCorpus | None,
) -> Iterator[Record]:
    flat = [(function, case) for function, found in group for case in found]
    found = {id(function): look_up(corpus, function.text) for function, _ in group}
    kinds: tuple[Kind, ...] = ("line", "block")
    for kind in kinds:
        options = sampling.options()
        if kind == "line":
            options["stop"] = "\n"
        else:
            options["stop_at_block_end"] = True
        asked = [(function, case) for function, case in flat if case.kind == kind]
        answers = engine.complete_batch(
            [case.prompt for _, case in asked],
            batch_size=sampling.batch_size,
            first_samples=[place_hash(function, 0) >> 200 for function, _ in asked],
            **options,
        )
        for (function, case), (answer,) in zip(asked, answers, strict=True):
            text = answer.text
            if kind == "block" and answer.finish_reason == "length":
                text = cut_unfinished(case.prompt, text)
            yield {
                "task_id": f"{function.repository}: {function.path}:{function.start_line}",
                "found": found[id(function)],
                "finish_reason": answer.finish_reason,
                **judge(case, text),
            }


def judge(case: Case, completion: str) -> Record:
    """How near ``completion`` is to what stood at the place."""
    written = completion.rstrip()
    within = "if True:\n" if case.prompt.startswith(" ") else ""
    whole = f"{within}{case.prompt}{written}\n{case.rest}"
    names = identifiers(case.target)
    return {
        "kind": case.kind,
        "prompt": case.prompt,
        "target": case.target,
        "completion": completion,
        "exact_match": written == case.target,
        "edit_similarity": edit_similarity(written, case.target),
        "parses": bool(written.strip()) and parse(whole) is not None,
        "identifiers_right": identifiers(written) == names if names else None,
        "identifier_f1": identifier_f1(written, case.target) if names else None,
    }
