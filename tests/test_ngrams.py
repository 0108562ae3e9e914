"""Hashes of words and n-grams: values stored in runs, and a slow reference."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.dedup.minhash import sketches
from codeling.ngrams import BYTE_BASE, WORD_BASE, gram_hashes, mix, span_hashes
from codeling.provenance.winnowing import lex

TEXTS = ["def f(a, b):\n    return a + b\n# ----- é 変数\n" * 3, "x"]


def test_sketches_and_fingerprints_of_earlier_runs_are_reproduced() -> None:
    found = hashlib.sha256(sketches(TEXTS).tobytes()).hexdigest()
    assert found == "b7a380f1701c7ed7832e7e4b116c7540daf0e06f92f3ca14f706402aba28d14a"
    found = hashlib.sha256(lex(TEXTS).hashes.tobytes()).hexdigest()
    assert found == "2e82b3540298ae31545cc36638dc411187d0ee90cd4e0e5aecaa0767dd4ab85e"


def reference(values: list[int], base: int, offset: int) -> int:
    total = 0
    for value in values:
        total = (total * base + value + offset) % (1 << 64)
    return total


def mixed(value: int) -> int:
    return int(mix(np.array([value], np.uint64))[0])


@given(st.binary(min_size=1, max_size=30), st.data())
def test_span_hashes_equal_the_reference(raw: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(raw) - 1))
    end = data.draw(st.integers(start + 1, len(raw)))
    values = np.frombuffer(raw, np.uint8)
    for base in (BYTE_BASE, WORD_BASE):
        found = span_hashes(values, np.array([start]), np.array([end]), base)
        expected = reference(list(raw[start:end]), int(base), 1) * int(base) % (1 << 64)
        assert int(found[0]) == mixed(expected)


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=40), st.integers(1, 30))
def test_gram_hashes_equal_the_reference(codes: list[int], length: int) -> None:
    found = gram_hashes(np.array(codes, np.uint64), length).tolist()
    grams = [codes[i : i + length] for i in range(len(codes) - length + 1)]
    assert found == [mixed(reference(gram, int(WORD_BASE), 0)) for gram in grams]
