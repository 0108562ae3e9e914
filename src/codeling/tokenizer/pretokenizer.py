r"""How Python is cut before byte-pair encoding merges anything.

The cut decides which merges are possible at all: none crosses a cut. There are two, each wholly
in terms of a standard ``tokenizer.json``, so that any reader of that file cuts the same way with
no code of ours. ``gpt2`` is the default: nothing that was tried gives fewer bits per byte
(``docs/tokenizer.md``). It leaves the last blank of an indentation to the word behind it, so a
prompt that ends there has to be healed (:mod:`codeling.tokenizer.healing`). ``python`` needs no
healing at line ends and indentations, for programs that cannot, and makes texts six per cent
longer. This module must not know how merges are learned.
"""

import json

from tokenizers import Regex, decoders, pre_tokenizers

from codeling.recipe import Cut

GPT2_EXPRESSION = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's cut (Radford et al. 2019), as ByteLevel has it built in and llama.cpp too."""

INDENTATION = r"[ \t]{2,}"
"""A whole run of two blanks or more. It never leaves its last blank to the next word, so a prompt
that ends after such an indentation, or after the newline before a line that is not blank, is
cut exactly as the finished file is."""

WORD = r" ?\p{L}+"
"""Letters, with one blank glued in front: ``import`` at a line's start and `` import`` within it.
``_`` is no letter, so the parts of a snake_case name are words of their own."""

NUMBER = r"\p{N}{1,3}"
"""Up to three digits at a time."""

OPERATOR = r" ?[^\s\p{L}\p{N}]+"
"""Punctuation with one blank in front: `` ==``, ``):``. Without the line end behind it, so that a
prompt which ends there is cut as the file is, too."""

NEWLINES = r"\s*[\r\n]+"
"""Line ends, with blank lines and trailing blanks before them."""

BLANKS = r"\s+(?!\S)|\s+"
"""White space that is left: form feeds, a lone blank, what other scripts use."""

PYTHON_EXPRESSION = "|".join((INDENTATION, WORD, NUMBER, OPERATOR, NEWLINES, BLANKS))
"""One alternative for every character, so the pieces joined are the text again."""

_EXPRESSIONS: dict[Cut, str] = {"gpt2": GPT2_EXPRESSION, "python": PYTHON_EXPRESSION}


def pre_tokenizer_named(cut: Cut) -> pre_tokenizers.PreTokenizer:
    """The cut that a recipe names, as the tokenizers library runs and stores it.

    GPT-2's in the words of its own file, by which fast engines know it.
    """
    if cut == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizer_of(PYTHON_EXPRESSION)


def pre_tokenizer_of(expression: str) -> pre_tokenizers.PreTokenizer:
    """A cut by one regular expression, as a standard ``tokenizer.json`` has it."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(expression), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def llama_cpp_name(tokenizer_json: str) -> str | None:
    """Under which name llama.cpp cuts as this ``tokenizer.json`` does (``tokenizer.ggml.pre`` in a
    GGUF file); None where we know of none. It knows cuts by name alone.
    """
    step = json.loads(tokenizer_json)["pre_tokenizer"] or {}
    is_gpt2 = step.get("type") == "ByteLevel" and step["use_regex"] and not step["add_prefix_space"]
    return "gpt-2" if is_gpt2 else None


def byte_decoder() -> decoders.Decoder:
    """The inverse of ByteLevel: from its printable stand-ins to bytes."""
    return decoders.ByteLevel()


def cut(text: str, name: Cut = "gpt2") -> list[str]:
    """The pieces of ``text``; joined, they are ``text``."""
    splitter = pre_tokenizers.Split(Regex(_EXPRESSIONS[name]), behavior="isolated")
    return [piece for piece, _ in splitter.pre_tokenize_str(text)]
