"""The suite ``completion``: the next line and the next block of held-out functions.

Two places of each function are drawn: a line of the body, which the model has to predict, and a
statement of the body, from which on it has to predict the rest of the function. A line ends at its
line end, a block where the function does (:mod:`codeling.generation.text.blocks`); a block that ran
out of tokens is cut after its last whole logical line. Trailing whitespace is not compared.
``parses`` says whether the function is Python with the completion in the target's place; a
completion without code (blank, or :func:`~codeling.evaluation.syntax.is_stub`) counts only when it
is the target. This module must not know where the functions come from.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from codeling.errors import InputError
from codeling.evaluation.completions import complete_requests
from codeling.evaluation.data.contamination import (
    TrainingCorpus,
    contamination_summary,
    find_in_training,
)
from codeling.evaluation.data.document_sample import (
    LocatedText,
    location_hash,
    location_label,
    shuffled,
)
from codeling.evaluation.data.lookup import DataSources, SuiteData, find_texts
from codeling.evaluation.journal import Journal
from codeling.evaluation.metrics.similarity import edit_similarity, identifier_f1, identifiers
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.suites.suite import (
    EvaluationSettings,
    SampleSettings,
    SuiteInputs,
    sampled_settings,
)
from codeling.evaluation.syntax import (
    body_statements,
    code_lines,
    first_line,
    indent_def,
    is_stub_text,
    normalized,
    parse_function,
    parse_in_block,
)
from codeling.generation.engine import Engine
from codeling.generation.request import Request
from codeling.generation.text.blocks import cut_at_block_end, cut_unfinished
from codeling.progress import SILENT, Progress

Kind = Literal["line", "block"]
MAX_BYTES = 4096
"""Longer functions are left out: their prompts would not fit into a short context."""
_LIMIT = 200
"""Default number of functions."""
_MAX_NEW_TOKENS = 192


class CompletionSuite:
    """Next line and next block of unseen functions."""

    name = "completion"
    summary = "the next line and the next block of unseen functions"
    programs = None
    reads_any_text = True

    def find_data(self, sources: DataSources) -> SuiteData:
        """The functions of any texts, or of the run's test split."""
        return find_texts(self.name, "functions", sources)

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """How completions are sampled."""
        samples = settings.samples(_MAX_NEW_TOKENS)
        # Version 2: a completion without code no longer counts as parsed.
        return sampled_settings(settings, engine, samples, _LIMIT, version=2)

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """See :func:`measure`."""
        assert inputs.data.texts is not None, "find_texts gives texts"
        return measure(
            inputs.engine,
            inputs.data.texts(),
            inputs.settings.samples(_MAX_NEW_TOKENS),
            inputs.journal,
            limit=inputs.settings.limit or _LIMIT,
            corpus=inputs.corpus,
            progress=inputs.progress,
        )


@dataclass(frozen=True)
class CompletionTask:
    """One place in a function."""

    kind: Kind
    prompt: str
    """The function up to the place; ends with a line feed."""
    target: str
    """The function's own text at the place, without trailing whitespace."""
    rest: str
    """The function after the target."""


def measure(
    engine: Engine,
    functions: Iterable[LocatedText],
    settings: SampleSettings,
    journal: Journal,
    *,
    limit: int,
    corpus: TrainingCorpus | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Complete a line and a block of ``limit`` functions: scores, and one record per completion.

    :raises InputError: there is no usable function.
    """
    in_order = shuffled(functions, settings.seed)
    usable = ((f, found) for f in in_order if (found := tasks(f, settings.seed)))
    selected = list(itertools.islice(usable, limit))
    if not selected:
        raise InputError("completion: there is no Python function to complete")
    records = journal.map_groups_with_bar(
        selected,
        "functions",
        settings.batch_size,
        lambda group: list(_answer(engine, group, settings, corpus)),
        progress,
    )
    return {
        "num_problems": len(records),
        "num_functions": len(selected),
        "scores": scores(records, _VALUES, settings.seed),
        "contamination": contamination_summary(corpus, records),
        "problems": records,
    }


def _value_of(kind: Kind, key: str) -> Value:
    def value(record: Record) -> float | None:
        found = record[key] if record["kind"] == kind else None
        return None if found is None else float(found)

    return value


_VALUES: list[tuple[str, Value]] = [
    (f"{name}, next {kind}", _value_of(kind, key))
    for kind in ("line", "block")
    for name, key in (
        ("exact match", "exact_match"),
        ("edit similarity", "edit_similarity"),
        ("parse rate", "parses"),
        ("identifiers right", "identifiers_right"),
        ("identifier F1", "identifier_f1"),
    )
]


def tasks(function: LocatedText, seed: int) -> list[CompletionTask]:
    """The line and the block of one function; empty where it is not a usable function.

    The places depend on ``seed`` and the function's location alone.
    """
    text = normalized(function.text).rstrip()
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return []
    definition = parse_function(text)
    if definition is None:
        return []
    body = body_statements(definition)
    if not body or first_line(body[0]) == definition.lineno:
        return []  # nothing but a docstring, or the body is on the line of the signature
    lines = indent_def(text, definition.body[0].col_offset).split("\n")
    number = location_hash(function, seed)
    found = []
    if places := code_lines(lines, definition, first_line(body[0])):
        found.append(_task("line", lines, places[number % len(places)]))
    starts = sorted({first_line(statement) for statement in body})
    first = number // 2**64 % len(starts)
    blocks = (_task("block", lines, place) for place in starts[first:] + starts[:first])
    found += itertools.islice((block for block in blocks if _has_clear_end(block)), 1)
    return found


def _has_clear_end(block: CompletionTask) -> bool:
    """Whether the prompt determines which block is completed.

    It does not after a nested definition, which might continue.
    """
    return cut_at_block_end(block.prompt, block.target + "\n").rstrip() == block.target


def _task(kind: Kind, lines: Sequence[str], place: int) -> CompletionTask:
    """The task that starts at line ``place``, from 1."""
    end = place if kind == "line" else len(lines)
    return CompletionTask(
        kind,
        "".join(f"{line}\n" for line in lines[: place - 1]),
        "\n".join(lines[place - 1 : end]).rstrip(),
        "\n".join(lines[end:]),
    )


def _answer(
    engine: Engine,
    group: Sequence[tuple[LocatedText, Sequence[CompletionTask]]],
    settings: SampleSettings,
    corpus: TrainingCorpus | None,
) -> Iterator[Record]:
    pairs = [(function, task) for function, found in group for task in found]
    pairs.sort(key=lambda pair: pair[1].kind, reverse=True)  # lines, then blocks
    found = {id(function): find_in_training(corpus, function.text) for function, _ in group}
    params = {"line": settings.params(stop="\n"), "block": settings.params(stop_at_block_end=True)}
    requests = [
        Request(task.prompt, None, params[task.kind], location_hash(function, 0) >> 200)
        for function, task in pairs
    ]
    answers = complete_requests(engine, requests, settings.batch_size)
    for (function, task), answer in zip(pairs, answers, strict=True):
        text = answer.text
        if task.kind == "block" and answer.finish_reason == "length":
            text = cut_unfinished(task.prompt, text)
        yield {
            "task_id": location_label(function),
            "found": found[id(function)],
            "finish_reason": answer.finish_reason,
            **compare(task, text),
        }


def compare(task: CompletionTask, completion: str) -> Record:
    """Compare ``completion`` with the target."""
    written = completion.rstrip()
    is_exact = written == task.target
    has_code = bool(written.strip()) and (is_exact or not is_stub_text(written))
    names = identifiers(task.target)
    return {
        "kind": task.kind,
        "prompt": task.prompt,
        "target": task.target,
        "completion": completion,
        "exact_match": is_exact,
        "edit_similarity": edit_similarity(written, task.target),
        "parses": has_code and parse_in_block(f"{task.prompt}{written}\n{task.rest}") is not None,
        "identifiers_right": identifiers(written) == names if names else None,
        "identifier_f1": identifier_f1(written, task.target) if names else None,
    }
