"""Hashes of Python tokens and words that do not change when code is reformatted.

Strings and comments are found without a parser, so the text may be any version of Python or broken.
An unterminated string ends with its line, a triple-quoted one with the file. Tokens are split and
hashed by numpy, many texts at a time. Everything that a formatter may change is ignored:
whitespace, line breaks, comments, triple-quoted strings (docstrings), parentheses, semicolons,
trailing commas, and the kind of quotes. This module must not know what the hashes are used for.
"""

import keyword
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from codeling.ngrams import span_hashes
from codeling.python_lexer import is_triple, replace_literals

Bools = NDArray[np.bool_]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

_SHORT = 80
_STRING = "\x01"
"""First byte of the token that represents a string."""


@dataclass(frozen=True)
class HashedWords:
    """T words or tokens of N texts, concatenated (B bytes)."""

    hashes: U64  # (T,)
    text_ids: I64  # (T,) index of the text
    starts: I64  # (T,) first byte of the word
    text_starts: I64  # (N,) first byte of each text, including the line feed before it
    data: U8  # (B,)

    def line(self, word: int) -> int:
        """Line number of a word in its text, from 1."""
        before = self.data[self.text_starts[self.text_ids[word]] : self.starts[word]]
        return int(np.count_nonzero(before == ord("\n")))


@dataclass(frozen=True)
class HashedTokens(HashedWords):
    """Tokens of code."""

    is_name: Bools  # (T,) an identifier that may be renamed
    is_data: Bools  # (T,) a number, a string, or punctuation between data
    last_use: I64  # (T,) index of the previous token with the same name, or -1


def hash_tokens(texts: Sequence[str]) -> HashedTokens:
    """Split texts into code tokens.

    Names are identifiers that are not keywords and do not follow a dot. Builtins are names, because
    programs reuse ``str`` or ``sum`` as variables. A string is one token, independent of its prefix
    and without backslashes, so raw and escaped strings are equal. All f-strings are the same token,
    because they contain names.
    """
    data, text_starts = _joined([replace_literals(text, _replacement) for text in texts])
    classes = _CLASSES[data]
    _drop_trailing_commas(data, classes)
    is_word = classes == _WORD
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    is_start = classes == _SIGN
    is_start[edges[0::2]] = True
    starts = np.flatnonzero(is_start)
    ends = starts + 1
    ends[is_word[starts]] = edges[1::2]
    hashes = span_hashes(data, starts, ends)
    first = data[starts]
    text_ids = _text_ids(starts, text_starts, len(data))
    is_prefixed = (first[1:] == ord(_STRING)) & (text_ids[1:] == text_ids[:-1])
    hashes[1:][is_prefixed & _is_in(hashes[:-1], _FORMATTED)] = 0
    is_kept = np.ones(len(starts), np.bool_)
    is_kept[:-1] = ~(is_prefixed & _is_in(hashes[:-1], _PREFIXES))
    starts, hashes = starts[is_kept], hashes[is_kept]
    first, text_ids = first[is_kept], text_ids[is_kept]
    is_name = _STARTS_NAME[first] & ~_is_in(hashes, _KEYWORDS)
    is_name[1:] &= (first[:-1] != ord(".")) | (text_ids[1:] != text_ids[:-1])
    last_use = _last_uses(hashes, is_name, text_ids)
    return HashedTokens(
        hashes, text_ids, starts, text_starts, data, is_name, _IS_DATA[first], last_use
    )


def hash_words(texts: Sequence[str]) -> HashedWords:
    """Split texts into words, code or not: runs of letters and digits, in lower case."""
    data, text_starts = _joined(texts)
    lower = _LOWER[data]
    is_word = lower != 0
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts = edges[0::2]
    hashes = span_hashes(lower, starts, edges[1::2])
    return HashedWords(hashes, _text_ids(starts, text_starts, len(data)), starts, text_starts, data)


def _joined(texts: Sequence[str]) -> tuple[U8, I64]:
    """Concatenate texts in UTF-8, each after a zero byte and a line feed; data and text starts.

    The zero byte is not whitespace, so a search for the next token stops at the end of a text.
    """
    encoded = [b"\0\n" + text.encode("utf-8", "replace") for text in texts]
    data = np.frombuffer(b"".join(encoded) + b"\n", np.uint8)
    return data, np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int64)[:-1]


def _text_ids(starts: I64, text_starts: I64, end: int) -> I64:
    counts = np.diff(np.searchsorted(starts, [*text_starts, end]))
    return np.repeat(np.arange(len(text_starts)), counts)


def _replacement(literal: str) -> str:
    """Replacement of a string or comment that is hashed; it keeps line breaks."""
    if len(literal) < _SHORT:
        return _short_replacement(literal)
    return _compute_replacement(literal)


def _compute_replacement(literal: str) -> str:
    if literal[0] == "#":
        return ""
    if is_triple(literal):
        return " " + "\n" * literal.count("\n")
    content = literal[1:].removesuffix(literal[0]).replace("\\", "")
    checksum = zlib.crc32(content.encode("utf-8", "replace"))
    return f" {_STRING}{checksum:08x} " + "\n" * literal.count("\n")


_short_replacement = lru_cache(maxsize=1 << 17)(_compute_replacement)
"""Cached, because most short literals recur often."""


def _drop_trailing_commas(data: U8, classes: U8) -> None:
    """Mark trailing commas as ignored in ``classes`` (B,), in place.

    A trailing comma has only whitespace between it and a closing bracket.
    """
    seen = np.flatnonzero(~_IS_SPACE[data])
    signs = data[seen]
    trailing = (signs[:-1] == ord(",")) & _IS_CLOSING[signs[1:]]
    classes[seen[:-1][trailing]] = _IGNORED


def _last_uses(hashes: U64, is_name: Bools, text_ids: I64) -> I64:
    last: I64 = np.full(len(hashes), -1, np.int64)
    places = np.flatnonzero(is_name)
    order = places[np.argsort(hashes[places], kind="stable")]
    same = (hashes[order[1:]] == hashes[order[:-1]]) & (text_ids[order[1:]] == text_ids[order[:-1]])
    last[order[1:][same]] = order[:-1][same]
    return last


def _is_in(values: U64, table: U64) -> Bools:
    """Mask of the ``values`` (H,) in the small sorted ``table``, prefiltered by low bits."""
    low = np.zeros(1 << 16, np.bool_)
    low[table & _LOW] = True
    found: Bools = low[values & _LOW]
    places = np.flatnonzero(found)
    near = np.minimum(np.searchsorted(table, values[places]), len(table) - 1)
    found[places] = table[near] == values[places]
    return found


def word_hash(word: str) -> int:
    """Hash of the token ``word``."""
    data = np.frombuffer(word.encode(), np.uint8)
    return int(span_hashes(data, np.array([0]), np.array([len(data)]))[0])


_LOW = np.uint64(0xFFFF)
_IGNORED, _WORD, _SIGN = 0, 1, 2


def _byte_classes() -> U8:
    classes = np.full(256, _SIGN, np.uint8)
    classes[:33] = classes[127] = _IGNORED
    classes[list(b"();\\")] = _IGNORED
    classes[128:] = _WORD
    for byte in range(128):
        if chr(byte).isalnum() or chr(byte) in "_" + _STRING:
            classes[byte] = _WORD
    return classes


def _bytes_where(text: str, from_128: bool = False) -> Bools:
    table = np.zeros(256, np.bool_)
    table[list(text.encode())] = True
    table[128:] = from_128
    return table


_CLASSES = _byte_classes()
_IS_SPACE = _bytes_where(" \t\n\r\f\v\\")
_IS_CLOSING = _bytes_where(")]}")
_IS_DATA = _bytes_where("0123456789[]{},:.=" + _STRING)
_LOWER = np.array(
    [byte if byte >= 128 else ord(chr(byte).lower()) * chr(byte).isalnum() for byte in range(256)],
    np.uint8,
)
_STARTS_NAME = _bytes_where("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", from_128=True)


def _sorted_hashes(words: Iterable[str]) -> U64:
    return np.sort(np.array([word_hash(word) for word in words], np.uint64))


_PREFIXES = _sorted_hashes(
    {
        "".join(letters)
        for prefix in ("b", "br", "f", "fr", "r", "rb", "rf", "u")
        for letters in product(*((letter, letter.upper()) for letter in prefix))
    }
)
_FORMATTED = _sorted_hashes(
    {
        "".join(letters)
        for prefix in ("f", "fr", "rf")
        for letters in product(*((letter, letter.upper()) for letter in prefix))
    }
)
_KEYWORDS = _sorted_hashes(keyword.kwlist)
