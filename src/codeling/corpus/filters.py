"""Which files are worth training on: each rule a pure function, document → drop reason or None.

A drop reason is a short name that the report counts. Thresholds come from the recipe; their
source stands beside each rule. This module must not read files, and knows nothing of
repositories, splits or other documents.

Sources: CodeParrot, ``examples/research_projects/codeparrot/scripts/preprocessing.py`` of
Hugging Face transformers, after Chen et al. 2021 (Codex, section 3.1); StarCoder 2's "alpha
filter", Lozhkov et al. 2024; Python's own rules for source encodings, PEP 263.
"""

import ast
import gc
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Callable

from codeling.corpus.extract import Function
from codeling.recipe import CorpusRecipe

_PARSING = threading.Lock()
_ASCII_NOT_ALPHANUMERIC = bytes(c for c in range(128) if not chr(c).isalnum())
_ASCII_NOT_LETTER = bytes(c for c in range(128) if not chr(c).isalpha())
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class UndecodableError(ValueError):
    """Bytes that are no Python text; its argument is the drop reason."""


def decode(data: bytes) -> str:
    """The text of a source file as Python itself would read it.

    The encoding is that of the byte order mark or the PEP 263 cookie, else UTF-8; the mark
    is taken off and every line end becomes ``\\n``.

    :raises UndecodableError: ``nul_bytes`` (also UTF-16), ``wrong_encoding`` (an unknown one is
        declared, or the bytes are not in it).
    """
    if b"\0" in data:
        raise UndecodableError("nul_bytes")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding).removeprefix("\ufeff")
        text.encode()
    except (SyntaxError, LookupError, ValueError) as error:
        raise UndecodableError("wrong_encoding") from error
    if "\0" in text:
        raise UndecodableError("nul_bytes")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def empty(text: str, recipe: CorpusRecipe) -> str | None:
    """``empty``: nothing but white space."""
    return "empty" if not text or text.isspace() else None


def small_or_large(text: str, recipe: CorpusRecipe) -> str | None:
    """``too_small``, ``too_large``: bytes of the text in UTF-8 (limit: CodeParrot's 1 MB)."""
    size = len(text) if text.isascii() else len(text.encode())
    if size < recipe.min_bytes:
        return "too_small"
    return "too_large" if size > recipe.max_bytes else None


def long_lines(text: str, recipe: CorpusRecipe) -> str | None:
    """``long_line``, ``long_mean_line``: CodeParrot's longest line 1000, mean line 100."""
    lengths = [len(line) for line in text.splitlines()]
    if max(lengths, default=0) > recipe.max_line_length:
        return "long_line"
    if sum(lengths) > recipe.max_mean_line_length * max(len(lengths), 1):
        return "long_mean_line"
    return None


def few_alphanumerics(text: str, recipe: CorpusRecipe) -> str | None:
    """``few_alphanumerics``: letters and digits among all characters, CodeParrot's 0.25."""
    found = alphanumerics(text)
    return "few_alphanumerics" if found < recipe.min_alphanumeric_fraction * len(text) else None


def few_letters(text: str, recipe: CorpusRecipe) -> str | None:
    """``few_letters``: letters among all characters, StarCoder 2's 0.25; tables of numbers."""
    return "few_letters" if letters(text) < recipe.min_letter_fraction * len(text) else None


def alphanumerics(text: str) -> int:
    """How many characters of ``text`` are letters or digits (``str.isalnum``)."""
    return _count(text, _ASCII_NOT_ALPHANUMERIC, str.isalnum)


def letters(text: str) -> int:
    """How many characters of ``text`` are letters (``str.isalpha``)."""
    return _count(text, _ASCII_NOT_LETTER, str.isalpha)


def _count(text: str, ascii_others: bytes, counts: Callable[[str], bool]) -> int:
    """Characters that count: the ASCII ones that are not in ``ascii_others``, the rest asked."""
    beyond = "".join(_NOT_ASCII.findall(text)) if not text.isascii() else ""
    found = len(text.encode("ascii", "ignore").translate(None, ascii_others))
    return found + sum(map(counts, beyond))


FILTERS: tuple[Callable[[str, CorpusRecipe], str | None], ...] = (
    empty,
    small_or_large,
    long_lines,
    few_alphanumerics,
    few_letters,
)
"""In the order they are asked; the first to object names the drop reason."""


def drop_reason(text: str, recipe: CorpusRecipe) -> str | None:
    """Why a file of this text is dropped, or None where it is kept."""
    for objection in FILTERS:
        reason = objection(text, recipe)
        if reason is not None:
            return reason
    return None


def parses_as_python3(text: str) -> bool:
    """Whether the running interpreter's ``ast.parse`` accepts ``text``.

    Meanwhile warnings about odd escapes are silenced, and so is the garbage collector, which
    has nothing to find in a syntax tree (a sixth of the time). Both are the whole process's,
    hence the lock.
    """
    with _PARSING:
        collecting = gc.isenabled()
        gc.disable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
        finally:
            if collecting:
                gc.enable()
        return True


def function_drop_reason(function: Function, recipe: CorpusRecipe) -> str | None:
    """Why a function is left out of the functions table, or None; CodeSearchNet's rules.

    ``empty_body``: it does nothing but pass or raise; ``few_lines``: shorter than
    ``min_function_lines`` (3 in CodeSearchNet); ``no_docstring``: only where
    ``require_docstring`` is set, as it was there.
    """
    if function.is_empty:
        return "empty_body"
    if function.end_line - function.start_line + 1 < recipe.min_function_lines:
        return "few_lines"
    if recipe.require_docstring and not function.docstring:
        return "no_docstring"
    return None
