import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus.sources import shards
from codeling.corpus.sources.listing import fingerprint
from codeling.corpus.sources.shards import Piece, Shard, lines, local_shards, pieces
from codeling.errors import CorpusError
from codeling.recipe import CorpusRecipe


def shard(path: Path, number: int = 0) -> Shard:
    kind = shards.format_of(str(path))
    assert kind is not None
    return Shard(number, path.name, str(path), kind, path.stat().st_size)


def test_shards_are_ordered_by_name_and_met_once(tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "b/1.json.gz", "a.parquet", "c/x.arrow", "c/notes.txt", "c/d.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    names = ["a.parquet", "b/1.json.gz", "b/2.jsonl", "c/x.arrow"]
    folder = str(tmp_path / "data")
    assert [s.name for s in local_shards(0, [folder])] == names
    assert [s.name for s in local_shards(0, [folder, f"{folder}/b/*.jsonl", folder])] == names
    assert [s.name for s in local_shards(0, [f"file://{folder}/b/*.jsonl"])] == ["2.jsonl"]
    formats = [s.format for s in local_shards(0, [folder])]
    assert formats == ["parquet", "json.gz", "json", "arrow"]


@pytest.mark.parametrize("piece_bytes", [1, 10, 100, 10_000])
def test_pieces_of_lines_have_every_line_once(
    piece_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "PIECE_BYTES", piece_bytes)
    texts = [b"%d " % i + b"x" * (i % 17) for i in range(50)] + [b"no line end"]
    texts[20] = b""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(texts))
    found = pieces(shard(path))
    assert sum(piece.num_bytes for piece in found) == path.stat().st_size
    rows = [row for piece in found for row in lines(shard(path), piece, 1_000)]
    expected = [(i, text + b"\n") for i, text in enumerate(texts) if text]
    expected[-1] = (50, b"no line end")
    assert rows == expected


def test_a_line_beyond_the_limit_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n" + b"x" * 3_000_000 + b"\nthree\n" + b"y" * 12)
    (piece,) = pieces(shard(path))
    assert list(lines(shard(path), piece, 10)) == [
        (0, b"one\n"), (1, None), (2, b"three\n"), (3, None)
    ]  # fmt: skip


def test_pieces_of_parquet_are_runs_of_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"content": [f"text {i}" for i in range(100)]}), path, row_group_size=9)
    monkeypatch.setattr(shards, "PIECE_BYTES", 300)
    found = pieces(shard(path))
    assert len(found) > 2
    rows = [
        value
        for piece in found
        for batch in shards.batches(shard(path), piece, ["content"])
        for value in batch.column("content").to_pylist()
    ]
    assert rows == [f"text {i}" for i in range(100)]
    firsts = [piece.first_row for piece in found]
    assert firsts == [9 * piece.start for piece in found]


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
def test_rows_of_parquet_are_those_that_pyarrow_reads(
    columns: dict[str, pa.Array],
    settings: dict[str, Any],
    num_rows: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever reader is asked, and however the file is named."""
    path = tmp_path / "a b%20#[x]?*é.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=9, **settings)
    expected = pq.read_table(path, columns=list(columns)).slice(9, 27)
    for limit in (0, 64_000_000):
        monkeypatch.setattr(shards, "_GROUP_BYTES", limit)
        found = list(shards.batches(shard(path), Piece(1, 4, 9, 0), list(columns), num_rows))
        assert all(batch.num_rows <= num_rows for batch in found)
        for name in columns:
            read = [value for batch in found for value in _raw(batch.column(name))]
            assert read == _raw(expected.column(name))


def _raw(column: pa.Array) -> list[Any]:
    """Its values, texts as bytes, since they may be no UTF-8."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return list(column.to_pylist())


def test_a_damaged_row_group_is_told_as_pyarrow_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(PLAIN), path, row_group_size=20, compression="snappy")
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    data[start + 20 : start + 60] = bytes(40)
    path.write_bytes(data)
    rows = shards.batches(shard(path), Piece(0, 2, 0, 0), list(PLAIN), 20)
    assert next(rows).column("copies").to_pylist() == list(range(20))
    with pytest.raises(shards.BROKEN):
        next(rows)


def test_what_is_behind_a_url_is_listed_and_read_through_daft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """daft's own way to files, on files of this disk: what it does for S3 and the Hub."""
    (tmp_path / "data" / "more").mkdir(parents=True)
    table = pa.table({"content": [f"text {i}" for i in range(100)]})
    pq.write_table(table, tmp_path / "data" / "a.parquet", row_group_size=9)
    (tmp_path / "data" / "more" / "b.jsonl").write_bytes(b'{"content": 1}\n' * 3)
    local = local_shards(2, [str(tmp_path / "data")])
    monkeypatch.setattr(shards, "is_remote", lambda path: True)
    remote = shards.remote_shards(2, [f"file://{tmp_path}/data"])
    assert [(s.name, s.format, s.num_bytes) for s in remote] == [
        (s.name, s.format, s.num_bytes) for s in local
    ]
    task = json.dumps([2, [f"file://{tmp_path}/data/**/*.jsonl"]])
    (found,) = json.loads(shards.find(task, ""))["shards"]
    assert Shard(**found).name == "more/b.jsonl"
    parquet, text = remote
    assert shards.column_names(parquet) == ["content"]
    batches = list(shards.batches(parquet, pieces(parquet)[0], ["content"]))
    assert pa.Table.from_batches(batches).equals(table)
    (piece,) = pieces(text)
    assert piece == Piece(0, -1, 0, text.num_bytes)
    assert [row for row, _ in lines(text, piece, 100)] == [0, 1, 2]
    answer = json.loads(shards.look(json.dumps(asdict(parquet)), ""))
    assert [Piece(**values) for values in answer] == pieces(parquet)


def test_what_cannot_be_listed_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no rows")
    for url, error, words in (
        ("nowhere://bucket/a.parquet", CorpusError, r"nowhere://\S+: cannot be listed \(.+\)"),
        (f"s3s://{tmp_path}/*", CorpusError, r"cannot be listed \(.+\)"),
    ):
        recipe = CorpusRecipe.model_validate({"sources": [{"kind": "codeparrot", "paths": url}]})
        with pytest.raises(error, match=words) as caught:
            fingerprint(recipe)
        assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n")
    (tmp_path / "out.txt").write_text("a/b\n")
    seen = set()
    for kind in ("codeparrot", "codesearchnet", "rows"):
        recipe = CorpusRecipe.model_validate(
            {"sources": [{"kind": kind, "paths": str(path)}], "opt_out": tmp_path / "out.txt"}
        )
        before = fingerprint(recipe)
        assert fingerprint(recipe) == before
        path.write_text(path.read_text() + "{}\n")
        after = fingerprint(recipe)
        (tmp_path / "out.txt").write_text((tmp_path / "out.txt").read_text() + "c/d\n")
        seen |= {before, after, fingerprint(recipe)}
    assert len(seen) == 7
