"""The loader on large corpora: a million documents, and more tokens than memory."""

import re
import struct
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from codeling.dataset.loader import Loader, Position
from codeling.dataset.tokens import TokenFile, open_tokens
from codeling.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.usefixtures("small_windows")


def digests(ids: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hash of each span of ``ids`` between consecutive ``starts``, sorted."""
    lengths = np.diff([*starts, len(ids)])
    place = np.arange(len(ids)) - np.repeat(starts, lengths)
    multipliers = np.random.default_rng(0).integers(1, 2**63, size=int(lengths.max()), dtype="u8")
    terms = ids.astype("u8") * multipliers[place]
    return np.sort(np.add.reduceat(terms, starts))


@pytest.mark.parametrize(
    "num_documents", [100_000, pytest.param(1_000_000, marks=pytest.mark.proof)]
)
def test_every_token_of_many_documents_is_predicted_once_per_epoch(
    tokenizer: Tokenizer, num_documents: int
) -> None:
    context, end = 128, tokenizer.end_of_text
    draws = np.random.default_rng(1)
    lengths = draws.integers(0, 6, size=num_documents)
    lengths[draws.integers(0, num_documents, size=8)] = num_documents // 10
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # Without newlines there are no definitions to cut at.
    plain = [i for i in range(5, 500) if not tokenizer.token_bytes[i].endswith(b"\n")]
    ids = draws.choice(np.array(plain, dtype=np.uint16), size=int(offsets[-1]))
    tokens = TokenFile(ids, offsets.astype(np.uint64), lengths.astype(np.uint64))
    counts = np.maximum(1, -(-lengths // context))
    total = len(ids) + int(counts.sum())
    # Expected: every chunk, each followed by an end.
    ends_after = np.concatenate(
        [offsets[1:], *(np.arange(offsets[d] + context, offsets[d + 1], context)
                        for d in np.flatnonzero(counts > 1))]
    )  # fmt: skip
    expected = np.insert(ids.astype(np.int64), np.sort(ends_after), end)
    assert len(expected) == total
    for epoch in range(2):
        loader = Loader(tokens, tokenizer, context, seed=3)
        rows = loader.sequences(Position(epoch, 0, 0, end))
        found = np.concatenate([row[1:] for row, _ in islice(rows, -(-total // context))])[:total]
        assert np.array_equal(np.bincount(found), np.bincount(expected))
        begin = [
            np.concatenate([[0], np.flatnonzero(x == end)[:-1] + 1]) for x in (found, expected)
        ]
        assert np.array_equal(digests(found, begin[0]), digests(expected, begin[1]))
        assert not np.array_equal(found, expected)


def anonymous_memory() -> int:
    """Anonymous memory of this process, in bytes."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_large_corpus_takes_little_memory(tokenizer: Tokenizer, tmp_path: Path) -> None:
    # 1 GB of tokens in a sparse file: the holes read as zeros.
    num_documents, num_ids = 500_000, 500_000_000
    offsets = np.linspace(0, num_ids, num_documents + 1).astype("<u8")
    header = struct.pack("<8sIIQQ", b"CODELING", 1, 2, num_documents, num_ids)
    (tmp_path / "train.idx").write_bytes(header + offsets.tobytes() + bytes(8 * num_documents))
    with (tmp_path / "train.bin").open("wb") as file:
        file.truncate(2 * num_ids)
    del offsets
    before = anonymous_memory()
    loader = Loader(open_tokens(tmp_path / "train.bin"), tokenizer, 256, 0)
    (row, position), *_ = islice(loader.shuffled_sequences(loader.start()), 20)
    assert row[0] in (0, tokenizer.end_of_text)
    assert position.num_taken == 1
    assert anonymous_memory() - before < 50_000_000
