"""How often a model's function bodies are Python.

The prompt is a held-out function up to where its body begins (signature, docstring); the
completion ends at the block's end; the two together go through ``ast.parse``. A completion that
ran out of ``max_new_tokens`` is cut after its last whole logical line. A blank completion counts
as a failure, also where the docstring alone would parse. The interval is Wilson's (1927).
"""

import ast
import itertools
import math
import textwrap
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from codeling.evaluation.data.document_sample import Located, in_drawn_order
from codeling.evaluation.metrics.pass_at_k import wilson
from codeling.generation.engine import Engine
from codeling.generation.request import SamplingKwargs, SamplingParams
from codeling.generation.text.blocks import cut_unfinished
from codeling.progress import SILENT, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

Outcome = Literal["parsed", "broken", "empty"]
MAX_PROMPT_BYTES = 512
"""Functions with longer prompts are left out, so that the smallest model sees the same ones as
the largest, and sees them whole."""
_PROMPTS_AT_ONCE = 32


@dataclass(frozen=True)
class Sample:
    """One completed function body."""

    repository: str
    path: str
    start_line: int
    prompt: str
    completion: str
    """As it was parsed: cut as the module's docstring says."""
    finish_reason: str
    outcome: Outcome


@dataclass(frozen=True)
class ParseRate:
    """How many completed bodies are Python."""

    samples: tuple[Sample, ...] = field(repr=False)

    def count(self, outcome: Outcome) -> int:
        """Samples with this outcome."""
        return sum(sample.outcome == outcome for sample in self.samples)

    @property
    def value(self) -> float:
        """Share of all samples that parsed, 0 to 1."""
        return self.count("parsed") / len(self.samples)

    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of :attr:`value` (Wilson 1927)."""
        return wilson(self.value, len(self.samples))


def function_prompt(text: str) -> str | None:
    """``text``, one function, up to where its body begins: signature and docstring.

    A method that was cut out at its ``def`` gets the indentation of its body's class back. The
    prompt ends with a line feed unless the body stands
    on the line of the signature. None where ``text`` is no single Python 3 function, or has a body
    that is its docstring alone.
    """
    text = textwrap.dedent(text.replace("\r\n", "\n").replace("\r", "\n"))
    tree = parse(text)
    if tree is None or len(tree.body) != 1:
        return None
    function = tree.body[0]
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    body = function.body[ast.get_docstring(function, clean=False) is not None :]
    if not body:
        return None
    first = body[0]
    line = min([first.lineno, *(d.lineno for d in decorators(first))])
    lines = text.split("\n")
    before = lines[line - 1].encode()[: first.col_offset].decode()
    prompt = "".join(f"{above}\n" for above in lines[: line - 1]) + before.rstrip()
    column = function.body[0].col_offset
    return prompt if line == function.lineno else as_in_its_file(prompt, column)


def decorators(statement: ast.stmt) -> list[ast.expr]:
    """What stands above a statement as ``@…``."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return statement.decorator_list
    return []


def as_in_its_file(prompt: str, body_column: int) -> str:
    """``prompt`` with its first line moved to where it stood.

    A corpus cuts a method out from its ``def`` on, so its body stays indented by eight and more.
    With the ``def`` at its own indentation the method ends where the next one begins.
    """
    return " " * (body_column - 4) + prompt


def parse_rate(
    engine: Engine,
    functions: Iterable[Located],
    *,
    completions: int,
    progress: Progress = SILENT,
    **options: "Unpack[SamplingKwargs]",
) -> ParseRate:
    """Complete bodies of held-out ``functions`` and see which parse.

    ``options`` are the engine's. Functions come in the drawn order of ``seed``, one of them,
    without those whose prompt is longer than :data:`MAX_PROMPT_BYTES`. Where there are fewer than
    ``completions``, each is completed several times; where there is none, there are no samples.
    """
    in_order = in_drawn_order(functions, SamplingParams(**options).seed)
    prompted = ((function, function_prompt(function.text)) for function in in_order)
    usable = (
        (function, prompt)
        for function, prompt in prompted
        if prompt and len(prompt.encode()) <= MAX_PROMPT_BYTES
    )
    chosen = list(itertools.islice(usable, completions))
    if not chosen:
        return ParseRate(())
    per_function = math.ceil(completions / len(chosen))
    samples: list[Sample] = []
    with progress.task("parse rate", total=completions, unit="completions") as advance:
        for start in range(0, len(chosen), _PROMPTS_AT_ONCE):
            part = chosen[start : start + _PROMPTS_AT_ONCE]
            answers = engine.complete_batch(
                [prompt for _, prompt in part],
                n=per_function,
                **(options | {"stop_at_block_end": True}),
            )
            for (function, prompt), of_prompt in zip(part, answers, strict=True):
                for answer in of_prompt[: completions - len(samples)]:
                    text = answer.text
                    if answer.finish_reason == "length":
                        text = cut_unfinished(prompt, text)
                    samples.append(
                        Sample(
                            repository=function.repository,
                            path=function.path,
                            start_line=function.start_line,
                            prompt=prompt,
                            completion=text,
                            finish_reason=answer.finish_reason,
                            outcome=outcome(prompt, text),
                        )
                    )
                    advance(1)
    return ParseRate(tuple(samples))


def outcome(prompt: str, completion: str) -> Outcome:
    """Whether ``prompt`` with ``completion`` is Python; indented, it is so within a block."""
    if not completion.strip():
        return "empty"
    within = "if True:\n" if prompt.startswith(" ") else ""
    return "broken" if parse(within + prompt + completion) is None else "parsed"


def parse(text: str) -> ast.Module | None:
    """The tree of ``text``; None where it is no Python 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and the like are Python still
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
