"""Cuts a shard into pieces that can be read independently.

Parquet is cut between row groups and uncompressed local JSON between lines; other shards are one
piece. This module must not know what a row means.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import pyarrow.parquet as pq

from codeling.corpus.sources.shards import Shard
from codeling.corpus.sources.storage import READ_ERRORS, is_remote, open_binary

PIECE_BYTES = 32_000_000
"""Row groups or lines are joined to pieces of about this size."""


@dataclass(frozen=True)
class Piece:
    """A contiguous range of a shard's rows."""

    start: int
    """First row group (Parquet) or byte (JSON)."""
    end: int
    """End of the range, exclusive; -1: the end of the shard."""
    first_row: int
    num_bytes: int
    """Its share of the shard's bytes on disk."""


def split_shard(shard: Shard, heartbeat: Callable[[str], None] = lambda _: None) -> list[Piece]:
    """Cut ``shard`` into pieces. A shard that cannot be read is one piece: its reader reports why.

    ``heartbeat`` is called with the shard's name while a file is scanned.
    """
    whole = [Piece(0, -1, 0, shard.num_bytes)]
    try:
        if shard.format == "parquet":
            return _split_parquet(shard) or whole
        if shard.format == "json" and not is_remote(shard.location):
            return _split_lines(shard, heartbeat) or whole
    except READ_ERRORS:
        pass
    return whole


def _split_parquet(shard: Shard) -> list[Piece]:
    with open_binary(shard.location) as stream:
        metadata = pq.ParquetFile(stream).metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    sizes = [group.total_byte_size for group in groups]
    share = shard.num_bytes / max(1, sum(sizes))
    pieces: list[Piece] = []
    start = first_row = num_bytes = num_rows = 0
    for i, group in enumerate(groups):
        num_bytes, num_rows = num_bytes + sizes[i], num_rows + group.num_rows
        if num_bytes >= PIECE_BYTES or i == len(groups) - 1:
            pieces.append(Piece(start, i + 1, first_row, int(num_bytes * share)))
            start, first_row, num_bytes, num_rows = i + 1, first_row + num_rows, 0, 0
    return pieces


def _split_lines(shard: Shard, heartbeat: Callable[[str], None]) -> list[Piece]:
    pieces: list[Piece] = []
    start = position = first_row = row = 0
    with open_binary(shard.location) as stream:
        while block := stream.read(1 << 20):
            heartbeat(shard.name)
            position += len(block)
            row += block.count(b"\n")
            if position - start >= PIECE_BYTES:
                rest = stream.readline()
                position += len(rest)
                row += rest.endswith(b"\n")
                pieces.append(Piece(start, position, first_row, position - start))
                start, first_row = position, row
    if position > start:
        pieces.append(Piece(start, position, first_row, position - start))
    return pieces


def split(task: str, settings: str, heartbeat: Callable[[str], None]) -> str:
    """Run :func:`split_shard` as a task: the shard and its pieces are JSON."""
    shard = Shard(**json.loads(task))
    heartbeat(shard.name)
    return json.dumps([asdict(piece) for piece in split_shard(shard, heartbeat)])
