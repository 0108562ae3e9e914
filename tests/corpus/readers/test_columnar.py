from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus.readers.columnar import Unreadable, read_batches, to_values
from codeling.corpus.sources import shards
from codeling.corpus.sources.pieces import Piece
from codeling.corpus.sources.shards import Shard
from codeling.corpus.sources.storage import READ_ERRORS


def shard(path: Path) -> Shard:
    kind = shards.format_of(str(path))
    assert kind is not None
    return Shard(0, path.name, str(path), kind, path.stat().st_size)


TEXTS = ["", "é", None, "import pandas\n" * 9, "x\r\n"] * 8
PLAIN = {"content": pa.array(TEXTS), "copies": pa.array(range(40), pa.uint8())}


@pytest.mark.parametrize("num_rows", [1, 7, 1_000])
@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        (PLAIN, {}),
        (PLAIN, {"compression": "zstd", "use_dictionary": False, "data_page_version": "2.0"}),
        ({"content": pa.array(TEXTS, pa.large_string())}, {}),
        ({"content": pa.array(TEXTS).dictionary_encode()}, {}),
        ({"content": pa.array([str(t).encode() for t in TEXTS]).view(pa.string())}, {}),
        ({"content": pa.array([b"\xff" if t else None for t in TEXTS]).view(pa.string())}, {}),
        ({"content": pa.array([[t] for t in TEXTS])}, {}),
    ],
)
def test_batches_hold_the_rows_of_the_piece(
    columns: dict[str, pa.Array], settings: dict[str, Any], num_rows: int, tmp_path: Path
) -> None:
    path = tmp_path / "a b%20#[x]?*é.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=9, **settings)
    expected = pq.read_table(path, columns=list(columns)).slice(9, 27)
    found = list(read_batches(shard(path), Piece(1, 4, 9, 0), list(columns), num_rows))
    assert all(batch.num_rows <= num_rows for batch in found)
    for name in columns:
        read = [value for batch in found for value in _raw(batch.column(name))]
        assert read == _raw(expected.column(name))


def _raw(column: pa.Array) -> list[Any]:
    """Values of a column; texts as bytes, which need not be UTF-8."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


def test_a_damaged_row_group_raises_after_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(PLAIN), path, row_group_size=20, compression="snappy")
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    data[start + 20 : start + 60] = bytes(40)
    path.write_bytes(data)
    rows = read_batches(shard(path), Piece(0, 2, 0, 0), list(PLAIN), 20)
    assert next(rows).column("copies").to_pylist() == list(range(20))
    with pytest.raises(READ_ERRORS):
        next(rows)


def test_values_that_python_does_not_have_are_marked() -> None:
    assert to_values(pa.array(["a", None])) == ["a", None]
    texts = pa.array([b"a", b"\xff", None]).view(pa.string())
    assert to_values(texts) == ["a", b"\xff", None]
    lists = pa.ListArray.from_arrays([0, 1, 2], texts.slice(0, 2))
    found = to_values(lists)
    assert found[0] == ["a"]
    assert isinstance(found[1], Unreadable)
    assert found[1].type_name == "list<item: string>"
    (day,) = to_values(pa.array([2**40], pa.timestamp("s")))
    assert isinstance(day, Unreadable)
