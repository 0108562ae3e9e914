"""Reads the lines of a JSON Lines shard, or of a piece of one.

This module must not parse them.
"""

import gzip
from collections.abc import Iterator
from typing import Any

from codeling.corpus.sources.pieces import Piece
from codeling.corpus.sources.shards import Shard
from codeling.corpus.sources.storage import open_binary


def read_lines(shard: Shard, piece: Piece, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the row number and bytes of each line that is not blank.

    A line of more than ``limit`` bytes yields None and is never held in memory.

    :raises EOFError: a gzipped shard is truncated; the lines before the end were yielded.
    """
    with open_binary(shard.location) as stream:
        source: Any = gzip.GzipFile(fileobj=stream) if shard.format == "json.gz" else stream
        if piece.start:
            source.seek(piece.start)
        left = piece.end - piece.start if piece.end >= 0 else -1
        row = piece.first_row
        while left != 0 and (line := source.readline(limit + 1)):
            length = len(line)
            if length > limit and not line.endswith(b"\n"):
                while (more := source.readline(1 << 20)) and not more.endswith(b"\n"):
                    length += len(more)
                length += len(more)
                yield row, None
            elif line.strip():
                yield row, line
            left -= length if left > 0 else 0
            row += 1
