import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus.readers import columnar
from codeling.corpus.readers.columnar import column_names, read_batches
from codeling.corpus.readers.json_lines import read_lines
from codeling.corpus.sources import pieces, shards, storage
from codeling.corpus.sources.pieces import Piece, split_shard
from codeling.corpus.sources.shards import Shard, list_local_shards


def test_a_url_is_listed_and_read_by_daft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On files of this disk, which daft opens as it opens S3 and the Hub."""
    (tmp_path / "data" / "more").mkdir(parents=True)
    table = pa.table({"content": [f"text {i}" for i in range(100)]})
    pq.write_table(table, tmp_path / "data" / "a.parquet", row_group_size=9)
    (tmp_path / "data" / "more" / "b.jsonl").write_bytes(b'{"content": 1}\n' * 3)
    local = list_local_shards(2, [str(tmp_path / "data")])
    for module in (shards, pieces, storage, columnar):
        monkeypatch.setattr(module, "is_remote", lambda path: True)
    remote = shards.list_remote_shards(2, [f"file://{tmp_path}/data"])
    assert [(s.name, s.format, s.num_bytes) for s in remote] == [
        (s.name, s.format, s.num_bytes) for s in local
    ]
    task = json.dumps([2, [f"file://{tmp_path}/data/**/*.jsonl"]])
    (found,) = json.loads(shards.list_remote(task, "", print))["shards"]
    assert Shard(**found).name == "more/b.jsonl"
    parquet, text = remote
    assert column_names(parquet) == ["content"]
    batches = list(read_batches(parquet, split_shard(parquet)[0], ["content"], 256))
    assert pa.Table.from_batches(batches).equals(table)
    (piece,) = split_shard(text)
    assert piece == Piece(0, -1, 0, text.num_bytes)
    assert [row for row, _ in read_lines(text, piece, 100)] == [0, 1, 2]
    answer = json.loads(pieces.split(json.dumps(asdict(parquet)), "", print))
    assert [Piece(**values) for values in answer] == split_shard(parquet)
