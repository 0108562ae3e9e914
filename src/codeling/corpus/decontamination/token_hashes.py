"""Python text without its layout: strings and comments, and tokens that survive a reformatting.

Strings and comments are found by one regular expression, which needs no parser and reads files
of any Python, broken ones too: a string that is not closed ends with its line, a triple-quoted
one with the file. Tokens are cut by numpy, many texts at a time, and are hashes; what a
formatter may change counts as nothing: white space and line breaks, comments, triple-quoted
strings (docstrings), round brackets, semicolons, trailing commas, the kind of quotes. This
module must not know what its tokens are for.
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
"""First byte of the token that stands for a string."""


@dataclass(frozen=True)
class HashedWords:
    """Some texts, cut, one after the other: T words or tokens of N texts of B bytes in all."""

    hashes: U64  # (T,)
    owners: I64  # (T,) position of its text
    starts: I64  # (T,) its first byte
    begins: I64  # (N,) first byte of every text, a line feed before it
    data: U8  # (B,)

    def line(self, word: int) -> int:
        """The line of its text that a word stands in, from 1."""
        before = self.data[self.begins[self.owners[word]] : self.starts[word]]
        return int(np.count_nonzero(before == ord("\n")))


@dataclass(frozen=True)
class HashedTokens(HashedWords):
    """The code of some texts, cut."""

    is_name: Bools  # (T,) an identifier that may be called otherwise
    is_data: Bools  # (T,) a number, a string, or a mark that stands between data
    last_use: I64  # (T,) the token before this one with the same name, or -1


def hash_tokens(texts: Sequence[str]) -> HashedTokens:
    """Cut the code of every text.

    Names are identifiers that are no keywords and do not stand after a dot; builtins are names,
    since many a program calls its own things ``str`` or ``sum``. A string is one token, whatever
    its prefix; it is its content without backslashes, so that raw and escaped ones are equal.
    All formatted strings are one token, since names stand in them.
    """
    data, begins = _joined([replace_literals(text, _stand_in) for text in texts])
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
    owners = _owners(starts, begins, len(data))
    is_prefixed = (first[1:] == ord(_STRING)) & (owners[1:] == owners[:-1])
    hashes[1:][is_prefixed & _among(hashes[:-1], _FORMATTED)] = 0
    is_kept = np.ones(len(starts), np.bool_)
    is_kept[:-1] = ~(is_prefixed & _among(hashes[:-1], _PREFIXES))
    starts, hashes = starts[is_kept], hashes[is_kept]
    first, owners = first[is_kept], owners[is_kept]
    is_name = _BEGINS_NAME[first] & ~_among(hashes, _KEYWORDS)
    is_name[1:] &= (first[:-1] != ord(".")) | (owners[1:] != owners[:-1])
    last_use = _last_uses(hashes, is_name, owners)
    return HashedTokens(hashes, owners, starts, begins, data, is_name, _IS_DATA[first], last_use)


def hash_words(texts: Sequence[str]) -> HashedWords:
    """Cut the words of every text, code or not: runs of letters and digits, in lower case."""
    data, begins = _joined(texts)
    lower = _LOWER[data]
    is_word = lower != 0
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts = edges[0::2]
    hashes = span_hashes(lower, starts, edges[1::2])
    return HashedWords(hashes, _owners(starts, begins, len(data)), starts, begins, data)


def _joined(texts: Sequence[str]) -> tuple[U8, I64]:
    """All texts in UTF-8, a zero and a line feed before each, and where each begins with them.

    The zero is no white space, so that nothing is looked for beyond a text's end.
    """
    encoded = [b"\0\n" + text.encode("utf-8", "replace") for text in texts]
    data = np.frombuffer(b"".join(encoded) + b"\n", np.uint8)
    return data, np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int64)[:-1]


def _owners(starts: I64, begins: I64, end: int) -> I64:
    counts = np.diff(np.searchsorted(starts, [*begins, end]))
    return np.repeat(np.arange(len(begins)), counts)


def _stand_in(literal: str) -> str:
    """What is hashed instead of a string or comment: its lines, and no layout."""
    if len(literal) < _SHORT:
        return _short_stand_in(literal)
    return _make_stand_in(literal)


def _make_stand_in(literal: str) -> str:
    if literal[0] == "#":
        return ""
    if is_triple(literal):
        return " " + "\n" * literal.count("\n")
    content = literal[1:].removesuffix(literal[0]).replace("\\", "")
    checksum = zlib.crc32(content.encode("utf-8", "replace"))
    return f" {_STRING}{checksum:08x} " + "\n" * literal.count("\n")


_short_stand_in = lru_cache(maxsize=1 << 17)(_make_stand_in)
"""Most short literals occur again and again."""


def _drop_trailing_commas(data: U8, classes: U8) -> None:
    """Make the comma before a closing bracket a space in ``classes``; what is between may be
    nothing but white space."""
    seen = np.flatnonzero(~_IS_SPACE[data])
    signs = data[seen]
    trailing = (signs[:-1] == ord(",")) & _IS_CLOSING[signs[1:]]
    classes[seen[:-1][trailing]] = _NOTHING


def _last_uses(hashes: U64, is_name: Bools, owners: I64) -> I64:
    last: I64 = np.full(len(hashes), -1, np.int64)
    places = np.flatnonzero(is_name)
    order = places[np.argsort(hashes[places], kind="stable")]
    same = (hashes[order[1:]] == hashes[order[:-1]]) & (owners[order[1:]] == owners[order[:-1]])
    last[order[1:][same]] = order[:-1][same]
    return last


def _among(values: U64, table: U64) -> Bools:
    """Which of ``values`` are in the small sorted ``table``, whose low bits are asked first."""
    low = np.zeros(1 << 16, np.bool_)
    low[table & _LOW] = True
    found: Bools = low[values & _LOW]
    places = np.flatnonzero(found)
    near = np.minimum(np.searchsorted(table, values[places]), len(table) - 1)
    found[places] = table[near] == values[places]
    return found


def word_hash(word: str) -> int:
    """The hash that a token ``word`` has."""
    data = np.frombuffer(word.encode(), np.uint8)
    return int(span_hashes(data, np.array([0]), np.array([len(data)]))[0])


_LOW = np.uint64(0xFFFF)
_NOTHING, _WORD, _SIGN = 0, 1, 2


def _byte_classes() -> U8:
    classes = np.full(256, _SIGN, np.uint8)
    classes[:33] = classes[127] = _NOTHING
    classes[list(b"();\\")] = _NOTHING
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
_BEGINS_NAME = _bytes_where("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", from_128=True)


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
