from pathlib import Path

from codeling.corpus.readers.json_lines import read_lines
from codeling.corpus.sources import shards
from codeling.corpus.sources.pieces import split_shard
from codeling.corpus.sources.shards import Shard


def shard(path: Path) -> Shard:
    kind = shards.format_of(str(path))
    assert kind is not None
    return Shard(0, path.name, str(path), kind, path.stat().st_size)


def test_a_line_beyond_the_limit_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\n" + b"x" * 3_000_000 + b"\nthree\n" + b"y" * 12)
    (piece,) = split_shard(shard(path))
    assert list(read_lines(shard(path), piece, 10)) == [
        (0, b"one\n"), (1, None), (2, b"three\n"), (3, None)
    ]  # fmt: skip
