r"""Pre-tokenizers: how Python is cut into pieces before byte-pair encoding merges anything.

No merge crosses a cut, so the cut decides which entries are possible. There are two, both made of
standard parts of ``tokenizer.json``, so any reader of that file cuts the same way. ``gpt2`` is the
default: nothing that was tried gives fewer bits per byte (``docs/tokenizer.md``). It attaches the
last space of an indentation to the next word, so a prompt that ends there must be healed
(:mod:`codeling.tokenizer.healing`). ``python`` needs no healing at line ends and indentations, for
programs that do not heal, and makes texts six per cent longer. This module must not know how merges
are learned.
"""

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Regex, decoders, pre_tokenizers

from codeling.recipe import PreTokenizerName

GPT2_EXPRESSION = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's pre-tokenizer (Radford et al. 2019), built into ByteLevel and llama.cpp."""

INDENTATION = r"[ \t]{2,}"
"""A run of two or more spaces and tabs, including the last one. So a prompt that ends after such an
indentation, or after the newline before a line of code, is cut like the finished file."""

WORD = r" ?\p{L}+"
"""Letters, with one leading space: ``import`` at a line's start and `` import`` within it. ``_`` is
not a letter, so the parts of a snake_case name are separate words."""

NUMBER = r"\p{N}{1,3}"
"""Up to three digits at a time."""

OPERATOR = r" ?[^\s\p{L}\p{N}]+"
"""Punctuation, with one leading space: `` ==``, ``):``. Excludes the line end, so that a prompt
that ends there is cut like the file."""

NEWLINES = r"\s*[\r\n]+"
"""Line ends, with blank lines and trailing white space before them."""

BLANKS = r"\s+(?!\S)|\s+"
"""Other white space: form feeds, a single space, spaces of other scripts."""

PYTHON_EXPRESSION = "|".join((INDENTATION, WORD, NUMBER, OPERATOR, NEWLINES, BLANKS))
"""Every character matches an alternative, so the concatenated pieces are the text."""

_EXPRESSIONS: dict[PreTokenizerName, str] = {"gpt2": GPT2_EXPRESSION, "python": PYTHON_EXPRESSION}


def pre_tokenizer_named(cut: PreTokenizerName) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer of a recipe, in the form of ``tokenizer.json``.

    GPT-2's is the built-in one, which fast encoders recognize.
    """
    if cut == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizer_of(PYTHON_EXPRESSION)


def pre_tokenizer_of(expression: str) -> pre_tokenizers.PreTokenizer:
    """A pre-tokenizer of one regular expression, in the form of ``tokenizer.json``."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def llama_cpp_name(tokenizer_json: str) -> str | None:
    """Name of the same pre-tokenizer in llama.cpp (``tokenizer.ggml.pre`` in a GGUF file).

    None if llama.cpp has none; it knows pre-tokenizers by name only. ``starcoder`` is GPT-2's with
    each digit on its own.
    """
    rules = json.loads(tokenizer_json)
    if rules["normalizer"] is not None:
        return None
    step = rules["pre_tokenizer"] or {}
    steps = step["pretokenizers"] if step.get("type") == "Sequence" else [step]
    if not _is_gpt2(steps[-1]):
        return None
    if len(steps) == 1:
        return "gpt-2"
    digits = steps[0].get("type") == "Digits" and steps[0].get("individual_digits")
    return "starcoder" if len(steps) == 2 and digits else None


def cut_name(tokenizer_json: str) -> PreTokenizerName | None:
    """The ``tokenizer.cut`` that a ``tokenizer.json`` was made with; None for others."""
    step = json.loads(tokenizer_json)["pre_tokenizer"] or {}
    if _is_gpt2(step):
        return "gpt2"
    pattern = (step.get("pretokenizers") or [{}])[0].get("pattern")
    return "python" if pattern == {"Regex": PYTHON_EXPRESSION} else None


def _is_gpt2(step: Mapping[str, Any]) -> bool:
    """Whether a step is ByteLevel with GPT-2's expression."""
    return step.get("type") == "ByteLevel" and step["use_regex"] and not step["add_prefix_space"]


def byte_decoder() -> decoders.Decoder:
    """The inverse of ByteLevel: from its printable characters to bytes."""
    return decoders.ByteLevel()


def cut(text: str, name: PreTokenizerName = "gpt2") -> list[str]:
    """The pieces of ``text``. Concatenated, they are ``text``."""
    splitter = pre_tokenizers.Split(Regex(_EXPRESSIONS[name]), behavior="isolated")
    return [piece for piece, _ in splitter.pre_tokenize_str(text)]
