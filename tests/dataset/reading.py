"""Helpers of the loader's tests: generated documents and functions that read them back."""

from collections.abc import Iterator

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from codeling.dataset.loader import Loader
from codeling.dataset.tokens import TokenFile

WINDOW = 7


DOCUMENTS = st.lists(st.lists(st.integers(5, 400), max_size=40), min_size=1, max_size=8).filter(any)


few = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def tokens_of(documents: list[list[int]]) -> TokenFile:
    ids = np.array([i for document in documents for i in document], dtype=np.uint16)
    ends = np.cumsum([0, *map(len, documents)]).astype(np.uint64)
    return TokenFile(ids, ends, np.zeros(len(documents), dtype=np.uint64))


def chunks(documents: list[list[int]], context: int) -> list[tuple[int, ...]]:
    """Every document cut into chunks of one context; an empty document is one empty chunk."""
    return [
        tuple(document[at : at + context])
        for document in documents
        for at in range(0, max(1, len(document)), context)
    ]


def targets(loader: Loader) -> Iterator[int]:
    """Every predicted id, one sequence after another."""
    for row, _ in loader.sequences(loader.start()):
        yield from row[1:].tolist()


def split(ids: list[int], end: int) -> list[tuple[int, ...]]:
    """Ids between one ``end`` and the next; the last id must be an ``end``."""
    found: list[list[int]] = [[]]
    for i in ids:
        if i == end:
            found.append([])
        else:
            found[-1].append(i)
    assert found.pop() == []
    return [tuple(piece) for piece in found]
