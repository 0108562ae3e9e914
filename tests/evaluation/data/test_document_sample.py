"""The drawn order: it depends on the seed and on places, and on nothing else."""

import random
from dataclasses import dataclass

import pytest

from codeling.evaluation.data.document_sample import draw, place_hash


@dataclass(frozen=True)
class Document:
    repository: str
    path: str
    text: str
    start_line: int = 1


DOCUMENTS = [
    Document(f"repo-{n % 7}", f"file_{n}.py", "é" * (n % 13) + "x" * (n % 40)) for n in range(200)
]


@pytest.mark.parametrize("max_bytes", [1, 50, 1000, 10**9])
def test_the_shortest_beginning_of_the_order_that_reaches_the_bytes(max_bytes: int) -> None:
    in_order = sorted(DOCUMENTS, key=lambda document: place_hash(document, 3))
    expected, total = [], 0
    for document in in_order:
        if total >= max_bytes:
            break
        expected.append(document)
        total += len(document.text.encode())
    assert draw(DOCUMENTS, seed=3, max_bytes=max_bytes) == expected


def test_the_order_of_the_corpus_does_not_matter() -> None:
    shuffled = random.Random(0).sample(DOCUMENTS, len(DOCUMENTS))
    assert draw(shuffled, seed=1, max_bytes=500) == draw(DOCUMENTS, seed=1, max_bytes=500)


def test_another_seed_draws_others() -> None:
    assert draw(DOCUMENTS, seed=1, max_bytes=500) != draw(DOCUMENTS, seed=2, max_bytes=500)


def test_places_that_agree_are_told_apart_by_their_text() -> None:
    twins = [Document("r", "a.py", text) for text in ("one", "two", "three")]
    assert draw(twins, seed=0, max_bytes=3) == draw(twins[::-1], seed=0, max_bytes=3)


def test_nothing_to_draw_from() -> None:
    assert draw([], seed=0, max_bytes=100) == []
