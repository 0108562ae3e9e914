"""Counts of n-grams against a dictionary."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeling.memory.corpus_table import counting
from codeling.memory.corpus_table.counting import CorpusTokens, NgramCounts, count, max_order

from .kneser_ney_reference import Gram, counted, documents


def as_dictionary(level: NgramCounts, vocab_size: int) -> Counter[Gram]:
    found: Counter[Gram] = Counter()
    before = -1
    for bucket in range(len(level.paths)):
        keys, counts = level.read(bucket)
        for key, number in zip(keys.tolist(), counts.tolist(), strict=True):
            assert key > before
            before = key
            gram = [key // vocab_size**place % vocab_size for place in range(level.order)]
            found[tuple(gram[::-1])] = number
    return found


@pytest.mark.parametrize("order", [3, 5])
@pytest.mark.parametrize("boundary", [0, 7])
@pytest.mark.parametrize("bucket_keys", [1 << 20, 100, 7])
def test_counts_are_those_of_a_dictionary(
    tmp_path: Path, order: int, boundary: int, bucket_keys: int
) -> None:
    texts, tokens = documents(seed=order, boundary=boundary)
    levels = count(tokens, order, tmp_path, bucket_keys=bucket_keys)
    assert (len(levels[-1].paths) > 1) == (bucket_keys < 1000)
    for n, (level, expected) in enumerate(
        zip(levels, counted(texts, order, boundary), strict=True), start=1
    ):
        found = as_dictionary(level, tokens.vocab_size)
        boundaries = (boundary,) * n
        if 1 < n < order and boundaries not in expected:
            assert found.pop(boundaries) == 0  # the context at a document's start
        assert found == expected
        for number in (1, 2, 3):
            assert level.counts_of_counts[number] == list(expected.values()).count(number)


def test_no_document_at_all(tmp_path: Path) -> None:
    tokens = CorpusTokens(np.empty(0, np.uint16), np.zeros(1, np.uint64), 9, 0)
    levels = count(tokens, 5, tmp_path)
    assert [sum(as_dictionary(level, 9).values()) for level in levels] == [0] * 5


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_parts_buckets_and_workers_change_nothing(tmp_path: Path) -> None:
    _, tokens = documents(seed=1)
    expected = [as_dictionary(each, 11) for each in count(tokens, 5, tmp_path / "one")]
    for bucket_keys, workers in ((13, 1), (13, 3), (200, 2)):
        folder = tmp_path / f"{bucket_keys}-{workers}"
        levels = count(tokens, 5, folder, workers, bucket_keys=bucket_keys)
        assert [as_dictionary(each, 11) for each in levels] == expected
    assert contents(tmp_path / "13-1") == contents(tmp_path / "13-3")


def test_a_count_that_was_killed_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokens = documents(seed=2)
    count(tokens, 5, tmp_path / "whole", bucket_keys=40)
    write, written = counting._write, 0

    def killed_after(limit: int) -> Any:
        def write_or_die(path: Path, *arrays: Any) -> None:
            nonlocal written
            if written == limit:
                path.with_suffix(".part").write_bytes(b"half")
                raise KeyboardInterrupt
            written += 1
            write(path, *arrays)

        return write_or_die

    for limit in (1, 3, 9, 20, 33, 50):
        folder = tmp_path / str(limit)
        written = 0
        monkeypatch.setattr(counting, "_write", killed_after(limit))
        with pytest.raises(KeyboardInterrupt):
            count(tokens, 5, folder, bucket_keys=40)
        monkeypatch.setattr(counting, "_write", write)
        for partial in folder.glob("*.part"):
            assert partial.read_bytes() == b"half"
        count(tokens, 5, folder, bucket_keys=40)
        for partial in folder.glob("*.part"):
            partial.unlink()
        assert contents(folder) == contents(tmp_path / "whole")


def test_keys_fit_into_64_bits() -> None:
    assert max_order(4096) == 5
    assert max_order(7131) == 5
    assert max_order(7132) == 4
    assert max_order(65_536) == 4
    assert max_order(65_537) == 3
    assert max_order(4096, limit=3) == 3
