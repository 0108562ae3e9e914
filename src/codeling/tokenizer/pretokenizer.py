"""How Python is cut before byte-pair encoding merges anything.

The cut decides which merges are possible at all: none crosses a cut. It is written wholly in
terms of a standard ``tokenizer.json`` (a Split by expression, then ByteLevel), so that any
reader of that file cuts the same way with no code of ours. This module must not know how
merges are learned.
"""

import json
from typing import Literal

from tokenizers import Regex, decoders, pre_tokenizers

INDENTATION = r"[ \t]{2,}"
"""A whole run of two blanks or more. It never leaves its last blank to the next word, so a prompt
that ends after such an indentation, or after the newline before a line that is not blank, is
cut exactly as the finished file is."""

WORD = r" ?\p{L}+"
"""Letters, with one blank glued in front: ``import`` at a line's start and `` import`` within it.
``_`` is no letter, so the parts of a snake_case name are words of their own."""

NUMBER = r"\p{N}{1,3}"
"""Up to three digits at a time."""

OPERATOR = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
"""Punctuation with one blank in front and the line ends behind it: `` ==``, ``):\\n``."""

NEWLINES = r"\s*[\r\n]+"
"""Line ends, with blank lines and trailing blanks before them."""

BLANKS = r"\s+(?!\S)|\s+"
"""White space that is left: form feeds, a lone blank, what other scripts use."""

EXPRESSION = "|".join((INDENTATION, WORD, NUMBER, OPERATOR, NEWLINES, BLANKS))
"""One alternative for every character, so the pieces joined are the text again."""


GPT2_EXPRESSION = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's cut (Radford et al. 2019), for programs that know no other: the twin of ours."""

LLAMA_CPP_NAMES = {GPT2_EXPRESSION: "gpt-2"}
"""How llama.cpp calls a cut in a GGUF file (``tokenizer.ggml.pre``). It knows cuts by name alone,
and has none for ours."""


def python_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """The cut as the tokenizers library runs and stores it."""
    return pre_tokenizer_of(EXPRESSION)


def pre_tokenizer_named(cut: Literal["python", "gpt2"]) -> pre_tokenizers.PreTokenizer:
    """The cut that a recipe names."""
    return pre_tokenizer_of({"python": EXPRESSION, "gpt2": GPT2_EXPRESSION}[cut])


def pre_tokenizer_of(expression: str) -> pre_tokenizers.PreTokenizer:
    """A cut by one regular expression, as a standard ``tokenizer.json`` has it."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def llama_cpp_name(tokenizer_json: str) -> str | None:
    """The name under which llama.cpp cuts as this ``tokenizer.json`` does, or None."""
    steps = (json.loads(tokenizer_json)["pre_tokenizer"] or {}).get("pretokenizers", [])
    patterns = [step.get("pattern", {}).get("Regex") for step in steps]
    return LLAMA_CPP_NAMES.get(patterns[0]) if patterns else None


def byte_decoder() -> decoders.Decoder:
    """The inverse of the ByteLevel half: from its printable stand-ins to bytes."""
    return decoders.ByteLevel()


def cut(text: str) -> list[str]:
    """The pieces of ``text``; joined, they are ``text``."""
    splitter = pre_tokenizers.Split(Regex(EXPRESSION), behavior="isolated")
    return [piece for piece, _ in splitter.pre_tokenize_str(text)]
