"""The random order depends on the seed and on locations, and on nothing else."""

import random
from dataclasses import dataclass

import pytest

from codeling.evaluation.data.document_sample import location_hash, sample_documents


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
def test_a_sample_is_the_shortest_prefix_that_reaches_the_bytes(max_bytes: int) -> None:
    in_order = sorted(DOCUMENTS, key=lambda document: location_hash(document, 3))
    expected, total = [], 0
    for document in in_order:
        if total >= max_bytes:
            break
        expected.append(document)
        total += len(document.text.encode())
    assert sample_documents(DOCUMENTS, seed=3, max_bytes=max_bytes) == expected


def test_the_order_of_the_corpus_does_not_matter() -> None:
    shuffled = random.Random(0).sample(DOCUMENTS, len(DOCUMENTS))
    assert sample_documents(shuffled, seed=1, max_bytes=500) == sample_documents(
        DOCUMENTS, seed=1, max_bytes=500
    )


def test_another_seed_gives_another_sample() -> None:
    assert sample_documents(DOCUMENTS, seed=1, max_bytes=500) != sample_documents(
        DOCUMENTS, seed=2, max_bytes=500
    )


def test_documents_at_the_same_location_are_ordered_by_text() -> None:
    twins = [Document("r", "a.py", text) for text in ("one", "two", "three")]
    assert sample_documents(twins, seed=0, max_bytes=3) == sample_documents(
        twins[::-1], seed=0, max_bytes=3
    )


def test_no_documents_give_no_sample() -> None:
    assert sample_documents([], seed=0, max_bytes=100) == []
