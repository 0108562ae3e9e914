"""Passages of many tokens that held-out documents share with train.

A vendored copy under another name, or a part of a file, is not a near-duplicate of a document, yet
a model that trained on it knows the passage. A *passage* is :data:`PASSAGE_TOKENS` or more
consecutive tokens that a document of train has as well; a token here is a lexeme
(:func:`codeling.ngrams.hash_lexemes`), in code, comments and strings alike. The comment at the top
of a file is left out, because every file under a licence begins with the same one.

Winnowing (Schleimer, Wilkerson, Aiken 2003) selects the n-grams to compare: the minimum hash of
every :data:`WINDOW` consecutive ones. So each passage of at least :data:`GUARANTEE` tokens is
found, up to ``WINDOW - 1`` tokens at its ends, and shorter ones than :data:`PASSAGE_TOKENS` never
are. This module must not read files and does not know what is done about shared documents.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeling.ngrams import gram_hashes, hash_lexemes

PASSAGE_TOKENS = 24
"""About 120 bytes, or three lines."""
WINDOW = 8
"""Consecutive n-grams of which the one with the minimum hash is stored."""
GUARANTEE = PASSAGE_TOKENS + WINDOW - 1
"""Shared passages of at least this many tokens are always found."""

_TOP_COMMENT = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)+")
_GAP_BITS = np.uint64(4)
_GAP = np.uint64((1 << 4) - 1)

Bools = NDArray[np.bool_]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]


def fingerprint(texts: Sequence[str]) -> tuple[list[U64], I64]:
    """Fingerprints of N texts, one array each, and their numbers of tokens (N,).

    The upper 60 bits of a fingerprint are a hash of its n-gram. The lower 4 bits are the tokens
    from the fingerprint before it, or from the start of the text.
    """
    lexemes = hash_lexemes([_without_top_comment(text) for text in texts])
    offsets, counts = lexemes.offsets, np.diff(lexemes.offsets)
    grams = gram_hashes(lexemes.hashes, PASSAGE_TOKENS)
    windows = len(lexemes.hashes) - GUARANTEE + 1
    if windows <= 0:
        return [np.empty(0, np.uint64) for _ in texts], counts
    low = np.uint64(0xFFFFFFFF)
    positions = np.arange(len(grams)).astype(np.uint64)
    least, width = (grams & ~low) | (low - positions), 1
    while width < WINDOW:
        least = np.minimum(least[:-width], least[width:])
        width *= 2
    text_ids = np.repeat(np.arange(len(texts)), counts)
    least = least[text_ids[:windows] == text_ids[GUARANTEE - 1 :]]
    chosen = low - (least[np.diff(least, prepend=~least[:1]) != 0] & low)
    places = chosen.astype(np.int64)
    owners = text_ids[places]
    gaps = np.diff(places, prepend=0)
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    gaps[firsts] = places[firsts] - offsets[owners[firsts]]
    keys = (grams[places] & ~_GAP) | gaps.astype(np.uint64)
    return np.split(keys, np.searchsorted(owners, np.arange(1, len(texts)))), counts


def _without_top_comment(text: str) -> str:
    match = _TOP_COMMENT.match(text)
    return text[match.end() :] if match else text


class HeldOutPassages:
    """The fingerprints of all held-out documents, and which of them train has."""

    def __init__(self, documents: Sequence[U64]) -> None:
        """``documents`` are the fingerprints of each held-out document."""
        self._documents = documents
        hashes = [document >> _GAP_BITS for document in documents]
        self._hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]))
        self._in_train = np.zeros(len(self._hashes), np.bool_)
        self._low = np.zeros(1 << 24, np.bool_)
        self._low[self._hashes & _LOW] = True

    def add_train(self, fingerprints: U64) -> None:
        """Mark what documents of train have; all their fingerprints are concatenated."""
        hashes = fingerprints >> _GAP_BITS
        hashes = hashes[self._low[hashes & _LOW]]
        self._in_train[self._find(hashes)] = True

    def _find(self, hashes: U64) -> I64:
        """Positions in the table of those of ``hashes`` that it has."""
        if not len(self._hashes):
            return np.empty(0, np.int64)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        found: I64 = places[self._hashes[places] == hashes]
        return found

    def shared_tokens(self) -> I64:
        """Number of tokens of each held-out document that are in a shared passage."""
        return np.array([self._shared(document) for document in self._documents], np.int64)

    def _shared(self, document: U64) -> int:
        is_shared = self._in_train[self._find(document >> _GAP_BITS)]
        starts = np.cumsum(document & _GAP)[is_shared].astype(np.int64)
        if not len(starts):
            return 0
        return int(np.minimum(np.diff(starts), PASSAGE_TOKENS).sum()) + PASSAGE_TOKENS


_LOW = np.uint64((1 << 24) - 1)
