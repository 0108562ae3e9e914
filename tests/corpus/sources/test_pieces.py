from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus.readers.columnar import read_batches
from codeling.corpus.readers.json_lines import read_lines
from codeling.corpus.sources import pieces, shards
from codeling.corpus.sources.pieces import split_shard
from codeling.corpus.sources.shards import Shard


def shard(path: Path) -> Shard:
    kind = shards.format_of(str(path))
    assert kind is not None
    return Shard(0, path.name, str(path), kind, path.stat().st_size)


@pytest.mark.parametrize("piece_bytes", [1, 10, 100, 10_000])
def test_pieces_of_lines_have_every_line_once(
    piece_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", piece_bytes)
    texts = [b"%d " % i + b"x" * (i % 17) for i in range(50)] + [b"no line end"]
    texts[20] = b""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(texts))
    found = split_shard(shard(path))
    assert sum(piece.num_bytes for piece in found) == path.stat().st_size
    rows = [row for piece in found for row in read_lines(shard(path), piece, 1_000)]
    expected = [(i, text + b"\n") for i, text in enumerate(texts) if text]
    expected[-1] = (50, b"no line end")
    assert rows == expected


def test_pieces_of_parquet_are_runs_of_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"content": [f"text {i}" for i in range(100)]}), path, row_group_size=9)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 300)
    found = split_shard(shard(path))
    assert len(found) > 2
    rows = [
        value
        for piece in found
        for batch in read_batches(shard(path), piece, ["content"], 256)
        for value in batch.column("content").to_pylist()
    ]
    assert rows == [f"text {i}" for i in range(100)]
    firsts = [piece.first_row for piece in found]
    assert firsts == [9 * piece.start for piece in found]
