"""Sequences and their order: a split is read once per epoch, and reading resumes anywhere."""

import json
import random
import re
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import Loader, Mixture, Position
from codeling.errors import CorpusError
from codeling.tokenizer.tokenizer import Tokenizer

from .reading import DOCUMENTS, WINDOW, chunks, few, split, targets, tokens_of

pytestmark = pytest.mark.usefixtures("small_windows")


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9), seed=st.integers(0, 5))
def test_an_epoch_predicts_every_id_and_every_chunk_end_once(
    tokenizer: Tokenizer, documents: list[list[int]], context: int, seed: int
) -> None:
    # No document is dropped. Every chunk ends in <|endoftext|>, which is a target like any other.
    expected = Counter(chunks(documents, context))
    length = sum(len(chunk) + 1 for chunk in expected.elements())
    stream = targets(Loader(tokens_of(documents), tokenizer, context, seed))
    orders = []
    for _ in range(3):
        found = split(list(islice(stream, length)), tokenizer.end_of_text)
        assert Counter(found) == expected
        orders.append(found)
    again = targets(Loader(tokens_of(documents), tokenizer, context, seed))
    assert split(list(islice(again, length)), tokenizer.end_of_text) == orders[0]


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9))
def test_sequences_overlap_by_one_id_and_are_one_longer_than_the_context(
    tokenizer: Tokenizer, documents: list[list[int]], context: int
) -> None:
    infilling = Infilling(0.5, 0.5, 0)
    loader = Loader(tokens_of(documents), tokenizer, context, 0, infilling)
    rows = list(islice(loader.sequences(loader.start()), 20))
    assert rows[0][0][0] == tokenizer.end_of_text
    for (row, position), (following, _) in pairwise(rows):
        assert row.shape == (context + 1,)
        assert row.dtype == np.int64
        assert row[-1] == following[0] == position.last_id


@pytest.mark.parametrize(
    "documents", [[[5] * 3], [[], [7], []], [[5, 6]] * 1001, [[*range(5, 505)] * 9]], ids=len
)
def test_tiny_and_huge_documents_are_read_whole(
    tokenizer: Tokenizer, documents: list[list[int]]
) -> None:
    expected = Counter(chunks(documents, 16))
    length = sum(len(chunk) + 1 for chunk in expected.elements())
    stream = targets(Loader(tokens_of(documents), tokenizer, 16, seed=0))
    assert Counter(split(list(islice(stream, length)), tokenizer.end_of_text)) == expected


def test_order_differs_by_seed_and_epoch(tokenizer: Tokenizer) -> None:
    documents = [[5 + number] for number in range(30)]
    orders = set()
    for seed in range(4):
        stream = targets(Loader(tokens_of(documents), tokenizer, 8, seed))
        for _ in range(4):
            orders.add(tuple(split(list(islice(stream, 60)), tokenizer.end_of_text)))
    assert len(orders) == 16
    assert all(order != tuple((5 + number,) for number in range(30)) for order in orders)


@pytest.mark.parametrize("kind", ["sequences", "shuffled_sequences"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_resuming_at_any_position_continues_the_same_sequences(
    tokenizer: Tokenizer, python_files: list[str], kind: str, rate: float
) -> None:
    texts = [*python_files[:2], "", "é" * 300, "x"]
    tokens = tokens_of(tokenizer.encode_batch(texts))

    def new() -> Loader:
        return Loader(tokens, tokenizer, 48, 9, Infilling(rate, 0.5, 9))

    num_rows = 2 * tokens.num_tokens // 48
    whole = list(islice(getattr(new(), kind)(new().start()), num_rows))
    assert whole[-1][1].epoch >= 1
    for stop in random.Random(0).sample(range(num_rows - 20), 25):
        position = Position.from_json(json.loads(json.dumps(whole[stop][1].to_json())))
        assert position == whole[stop][1]
        rest = islice(getattr(new(), kind)(position), 20)
        for (row, after), (expected, expected_after) in zip(rest, whole[stop + 1 :], strict=False):
            assert np.array_equal(row, expected)
            assert after == expected_after


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9), seed=st.integers(0, 3))
def test_shuffling_stays_within_the_window(
    tokenizer: Tokenizer, documents: list[list[int]], context: int, seed: int
) -> None:
    loader = Loader(tokens_of(documents), tokenizer, context, seed)
    plain = list(islice(loader.sequences(loader.start()), 3 * WINDOW))
    shuffled = list(islice(loader.shuffled_sequences(loader.start()), 3 * WINDOW))
    for begin in range(0, 3 * WINDOW, WINDOW):
        window = slice(begin, begin + WINDOW)
        assert sorted(row.tolist() for row, _ in shuffled[window]) == sorted(
            row.tolist() for row, _ in plain[window]
        )
        assert shuffled[window][-1][1] == plain[window][-1][1]


def test_order_differs_by_window(tokenizer: Tokenizer) -> None:
    tokens = tokens_of([[5 + number % 400] * 8 for number in range(300)])
    orders = set()
    for seed in range(3):
        loader = Loader(tokens, tokenizer, 9, seed)
        plain = list(islice(loader.sequences(loader.start()), 10 * WINDOW))
        shuffled = list(islice(loader.shuffled_sequences(loader.start()), 10 * WINDOW))
        for begin in range(0, 10 * WINDOW, WINDOW):
            place = {
                row.tobytes(): number for number, (row, _) in enumerate(plain[begin:][:WINDOW])
            }
            assert len(place) == WINDOW
            orders.add(tuple(place[row.tobytes()] for row, _ in shuffled[begin:][:WINDOW]))
    assert len(orders) >= 28


BEGINS = re.compile(r"[ \t]*(?:(?:def|class|async)\b|@)")


def test_chunks_begin_at_definitions_and_lose_nothing(
    tokenizer: Tokenizer, python_files: list[str]
) -> None:
    context = 16
    snapped = 0
    for text in python_files[:6]:
        document = tokenizer.encode(text)
        loader = Loader(tokens_of([document]), tokenizer, context, seed=0)
        numbers = np.arange(len(chunks([document], context)), dtype=np.int64)
        _, begins, starts, lengths = (found.tolist() for found in loader._spans(numbers))
        assert begins == starts  # a single document
        pieces = [
            (at, np.array(document[at : at + n])) for at, n in zip(begins, lengths, strict=True)
        ]
        assert [i for _, ids in pieces for i in ids.tolist()] == document
        for number, (begin, ids) in enumerate(pieces[1:], 1):
            before, own = tokenizer.decode(document[:begin]), tokenizer.decode(ids.tolist())
            assert 0 <= begin - number * context < context
            if begin == number * context and not (before.endswith("\n") and BEGINS.match(own)):
                continue  # no definition nearby
            assert before.endswith("\n")
            assert BEGINS.match(own)
            passed = tokenizer.decode(document[number * context - 1 : begin]).splitlines(True)
            # "async" is several ids in this small vocabulary, so it is not recognised.
            begun = [line for line in passed[1:] if BEGINS.match(line)]
            assert [line for line in begun if "async" not in line] == []
            snapped += 1
    assert snapped > 20


def test_a_run_shorter_than_the_corpus_reads_repositories_in_balance(
    tokenizer: Tokenizer,
) -> None:
    documents = [[5 + number % 400] * 7 for number in range(1000)]
    owners = np.repeat([0, 1], [900, 100])
    mixture = Mixture(owners, tokens=800, exponent=0.0)
    plain = targets(Loader(tokens_of(documents), tokenizer, 8, 3))
    stream = targets(Loader(tokens_of(documents), tokenizer, 8, 3, mixture=mixture))
    first = list(islice(stream, 800))
    of_small = {tuple(document) for document in documents[900:]}
    pieces = split(first, tokenizer.end_of_text)
    assert 0.4 < sum(piece in of_small for piece in pieces) / len(pieces) < 0.75
    rest = list(islice(stream, 7200))
    assert Counter(first + rest) == Counter(islice(plain, 8000))  # the whole corpus once
    assert Counter(islice(stream, 8000)) == Counter(first + rest)  # then the whole corpus again


@pytest.mark.parametrize("documents", [[], [[]], [[], [], []]])
def test_an_empty_corpus_is_an_error(tokenizer: Tokenizer, documents: list[list[int]]) -> None:
    with pytest.raises(CorpusError, match="the split is empty"):
        Loader(tokens_of(documents), tokenizer, 8, 0)
