import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeling.quantity import quantity

SOURCE = Path(__file__).parents[1] / "src" / "codeling"
NOUNS = (
    "bodies|bytes|characters|completions|cores|documents|entries|files|functions|heads|layers"
    "|lines|parts|places|problems|processes|projects|prompts|repositories|rows|samples|seconds"
    "|sequences|solutions|steps|suffixes|texts|threads|tokens|words"
)
NEVER_ONE = {
    "len(_CURSORS)": "a constant",
    "limit": "a shard's longest row, in bytes",
    "match.max_occurrences": "printed where a passage is not unique",
    "model.context_length": "at least two, so that a token has a next one",
    "tokenizer.vocab_size": "at least the bytes",
    "training.tokens_per_step": "at least a context",
}
"""Numbers that may precede a plural, and why."""


@pytest.mark.parametrize(
    ("number", "noun", "shown"),
    [
        (0, "step", "0 steps"),
        (1, "step", "1 step"),
        (0.9, "second", "1 second"),
        (1234, "more repository", "1,234 more repositories"),
        (1, "body", "1 body"),
        (2, "suffix", "2 suffixes"),
        (3, "process", "3 processes"),
    ],
)
def test_one_is_singular(number: float, noun: str, shown: str) -> None:
    assert quantity(number, noun) == shown


def bare_plurals(module: Path) -> Iterator[str]:
    """Expressions before a plural noun in the f-strings of ``module``; constants are left out."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                number = ast.unparse(value.value)
                if (
                    re.match(rf" (?:[a-z]+ )?(?:{NOUNS})\b", str(text.value))
                    and not number.isupper()
                ):
                    yield number


def test_no_number_that_may_be_one_precedes_a_plural() -> None:
    """Modules inside the sandbox cannot import this function; their limits are seconds."""
    found = {
        number: module.relative_to(SOURCE).as_posix()
        for module in SOURCE.rglob("*.py")
        if "inside" not in module.parts
        for number in bare_plurals(module)
    }
    assert sorted(found.items() - {(name, found.get(name)) for name in NEVER_ONE}) == []
    assert NEVER_ONE.keys() <= found.keys()
