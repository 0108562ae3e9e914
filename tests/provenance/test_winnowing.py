"""Winnowing against a slow twin written from the paper."""

import random
import re

import numpy as np
import pytest

from codeling.provenance.winnowing import GUARANTEE, WINDOW, K, lex, winnow


def slow_lexemes(text: str) -> list[str]:
    text = re.sub(r"([#=*~+./-])\1{3,}", r"\1\1\1", text)
    return re.findall(r"[\w\x80-\U0010ffff]+|[^\w\s]", text)


def random_text(seed: int, words: int = 200) -> str:
    randomness = random.Random(seed)
    pieces = [
        "alpha",
        "b_2",
        "é",
        "変数",
        "(",
        ")",
        "==",
        ":",
        '"""',
        "->",
        "0x1F",
        "\t",
        "\n",
        " ",
    ]
    return "".join(randomness.choice(pieces) + randomness.choice(["", " "]) for _ in range(words))


@pytest.mark.parametrize("seed", range(20))
def test_lexemes_are_words_and_single_signs(seed: int) -> None:
    text = random_text(seed)
    expected = slow_lexemes(text)
    lexed = lex([text])
    assert len(lexed.lexemes) == len(expected)
    same: dict[str, int] = {}
    for lexeme, byte in zip(expected, lexed.lexemes.tolist(), strict=True):
        assert same.setdefault(lexeme, byte) == byte


def test_line_starts_count_the_lexemes_before_each_line() -> None:
    text = "a b\n\n  c.d\n# ----------\nlast"
    before = [len(slow_lexemes("\n".join(text.split("\n")[:line]))) for line in range(4)]
    assert lex([text]).line_starts.tolist() == [*before, before[3] + 4]


@pytest.mark.parametrize("seed", range(10))
def test_fingerprints_are_those_of_the_paper(seed: int) -> None:
    """In every window of K-grams of one document, the rightmost least hash; and nothing else."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 120, size=8)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    lexemes = generator.integers(0, 1 << 63, size=offsets[-1]).astype(np.uint64)
    hashes, firsts = winnow(lexemes, offsets)

    alone = [_hash_of_one(lexemes[i : i + K].tolist()) for i in range(len(lexemes) - K + 1)]
    chosen = set()
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        for window in range(begin, end - GUARANTEE + 1):
            chosen.add(min(range(window, window + WINDOW), key=lambda i: (alone[i], -i)))
    assert firsts.tolist() == sorted(chosen)
    assert hashes.tolist() == [alone[first] for first in sorted(chosen)]


def _hash_of_one(gram: list[int]) -> int:
    """Horner's rule, then splitmix64's finalizer, in Python's own integers."""
    value = 0
    for lexeme in gram:
        value = (value + lexeme + 1) * 0xD1342543DE82EF95 % (1 << 64)
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    value = (value ^ value >> 27) * 0x94D049BB133111EB % (1 << 64)
    return (value ^ value >> 31) >> 32


def test_hashes_depend_on_the_content_alone() -> None:
    text = random_text(1)
    alone, after = lex([text]), lex(["x = 1\n" * 100, text])
    offset = int(after.lexeme_offsets[1])
    assert (after.lexemes[offset:] == alone.lexemes).all()
    assert (after.hashes[after.firsts >= offset] == alone.hashes).all()
    assert alone.hashes.max() < 1 << 32


def test_constants() -> None:
    """A different value is a different file format: every hash is fixed for good."""
    lexed = lex(["def mean(xs):\n    return sum(xs) / len(xs)\n" * 3])
    assert lexed.lexemes[:8].tolist() == PINNED_LEXEMES
    assert lexed.hashes[:3].tolist() == PINNED_HASHES


PINNED_LEXEMES = [143, 203, 132, 181, 19, 244, 48, 115]
PINNED_HASHES = [234100170, 234100170]
