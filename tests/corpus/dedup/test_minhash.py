import inspect
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.corpus.dedup import minhash
from codeling.corpus.dedup.near_duplicates import similarity

TEXTS = st.lists(st.text("ab_1 \n.(é", max_size=40), max_size=8)


def words(text: str) -> list[bytes]:
    return re.findall(rb"[A-Za-z0-9_\x80-\xff]+", text.encode())


def grams(text: str) -> list[tuple[bytes, ...]]:
    cut = words(text)
    return [tuple(cut[i : i + 5]) for i in range(len(cut) - 4)]


def jaccard(left: str, right: str) -> float:
    one, other = set(grams(left)), set(grams(right))
    return len(one & other) / len(one | other)


@given(TEXTS)
@settings(max_examples=100)
def test_ngrams_are_hashed_one_to_one_and_in_order(texts: list[str]) -> None:
    hashes, offsets = minhash.ngrams(texts)
    expected = [grams(text) for text in texts]
    assert np.diff(offsets).tolist() == [len(each) for each in expected]
    flat = [gram for each in expected for gram in each]
    assert len(hashes) == len(flat)
    assert len(set(zip(hashes.tolist(), flat, strict=True))) == len(set(flat)) == len(set(hashes))


@given(TEXTS)
def test_a_sketch_does_not_depend_on_other_texts(texts: list[str]) -> None:
    together = minhash.sketches(texts)
    assert together.shape == (len(texts), minhash.SKETCH_BYTES)
    for text, row in zip(texts, together, strict=True):
        assert np.array_equal(minhash.sketches([text])[0], row)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 3_000_000])
def test_a_long_text_is_hashed_as_a_short_one(size: int) -> None:
    short = "one two three four five"
    filler = "x " * (size // 2)
    assert minhash.ngrams([short])[0][0] == minhash.ngrams([filler + short])[0][-1]


def test_layout_and_punctuation_do_not_matter() -> None:
    one = "def f(a, b):\n    return a + b + g(c, d)\n"
    other = "def f(\n    a,\n    b,\n):\n\n    return (a - b * g(c, d))  #\n"
    assert np.array_equal(*minhash.sketches([one, other]))


@pytest.mark.parametrize("text", ["", "   \n", "one two three four", "+-*/()[]{}" * 50])
def test_a_text_of_fewer_than_five_words_has_no_sketch(text: str) -> None:
    rows = minhash.sketches([text, "one two three four five"])
    assert not rows[0].any()
    assert rows[1].any()
    assert (rows[1, : 8 * minhash.BANDS].view("<u8") != 0).all()


def test_equal_slots_estimate_jaccard_similarity() -> None:
    text = inspect.getsource(json.decoder)
    lines = text.splitlines()
    errors = []
    for cut in range(0, len(lines), 10):
        other = "\n".join(lines[cut:])
        if not grams(other):
            break
        rows = minhash.sketches([text, other])[:, 8 * minhash.BANDS :]
        errors.append(similarity(rows[:1], rows[1:])[0] - jaccard(text, other))
    assert len(errors) > 30
    assert max(np.abs(errors)) < 0.06, "four standard deviations at 0.5"
    assert np.sqrt(np.mean(np.square(errors))) < 0.02
