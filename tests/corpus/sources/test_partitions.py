"""Partitions cover the input once, in its order, whatever their size."""

import pytest

from codeling.corpus.sources import partitions
from codeling.corpus.sources.files import Repository, SourceFile
from codeling.corpus.sources.partitions import Partition, make_partitions
from codeling.corpus.sources.pieces import Piece
from codeling.corpus.sources.shards import Shard

REPOSITORY = Repository("owner/name", "owner/name", "", "MIT", "https://example.org/")
FILES = [
    SourceFile(
        REPOSITORY, f"m{i}.py", f"/m{i}\udcff.py", 100 * i, 0, "excluded" if i == 9 else None
    )
    for i in range(10)
]
SHARD = Shard(0, "a.jsonl", "/a.jsonl", "json", 300)
PIECES = [Piece(0, 200, 0, 200), Piece(200, -1, 7, 100)]


@pytest.mark.parametrize("max_files, max_bytes", [(1, 10**9), (3, 10**9), (100, 500), (100, 10**9)])
def test_every_file_and_piece_is_in_one_partition_in_order(
    monkeypatch: pytest.MonkeyPatch, max_files: int, max_bytes: int
) -> None:
    monkeypatch.setattr(partitions, "RUN_FILES", max_files)
    monkeypatch.setattr(partitions, "RUN_BYTES", max_bytes)
    made = make_partitions(FILES, [(SHARD, PIECES)])
    assert [part.number for part in made] == list(range(len(made)))
    assert [entry.path for part in made for entry in part.files] == [file.path for file in FILES]
    assert [part.piece for part in made if part.piece] == PIECES
    for part in made:
        sizes = [entry.num_bytes for entry in part.files if entry.reason is None]
        assert len(part.files) <= max_files
        assert sum(sizes[:-1]) < max_bytes


def test_a_partition_survives_json() -> None:
    for part in make_partitions(FILES, [(SHARD, PIECES)]):
        assert Partition.from_json(part.to_json()) == part


def test_a_partition_is_named_after_its_first_document() -> None:
    names = [part.name for part in make_partitions(FILES, [(SHARD, PIECES)])]
    assert names == [FILES[0].path, "a.jsonl#0", "a.jsonl#7"]
