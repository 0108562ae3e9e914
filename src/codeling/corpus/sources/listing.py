"""Lists the whole input: the files and shards of all sources, cut into partitions.

Reads only the footers of Parquet files and the line ends of plain JSON, in the executor's child,
which also lists URLs. This module must not interpret the contents.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codeling.corpus.build.executor import Executor
from codeling.corpus.sources.files import Repository, list_files
from codeling.corpus.sources.files import fingerprint as files_fingerprint
from codeling.corpus.sources.hub_listing import HUB, how_to_copy
from codeling.corpus.sources.partitions import Partition, make_partitions
from codeling.corpus.sources.pieces import Piece
from codeling.corpus.sources.shards import Shard, list_local_shards
from codeling.corpus.sources.storage import is_remote
from codeling.errors import CorpusError, UsageError
from codeling.recipe import CorpusRecipe, RowSource

MAX_COMPRESSION = 5
"""Bytes of Python per byte of gzipped JSON or compressed Parquet; 3 to 4 are usual."""


@dataclass(frozen=True)
class Listing:
    """The whole input, in the corpus's order."""

    partitions: Sequence[Partition]
    repositories: Mapping[str, Repository]
    """Name → listed repository, in order; the repositories of table rows are not listed."""
    fingerprint: str
    """SHA-256 over the listed files."""


def list_input(recipe: CorpusRecipe, executor: Executor) -> Listing:
    """List the input of ``recipe``.

    :raises UsageError: a path of the recipe does not exist.
    :raises CorpusError: a URL cannot be listed.
    """
    files = list_files(recipe)
    shards = list_shards(recipe, executor)
    answers = executor.map("split", [json.dumps(asdict(shard)) for shard in shards])
    pieces = [[Piece(**values) for values in json.loads(answer)] for answer in answers]
    return Listing(
        make_partitions(files, zip(shards, pieces, strict=True)),
        {file.repository.name: file.repository for file in files},
        files_fingerprint(files),
    )


def max_text_bytes(recipe: CorpusRecipe) -> int:
    """Upper bound on the bytes of Python in the input, from the sizes of its files alone.

    A compressed shard counts :data:`MAX_COMPRESSION` times.

    :raises UsageError: a path of the recipe does not exist.
    :raises CorpusError: a URL cannot be listed, or there is no file.
    """
    with Executor() as executor:
        shards = list_shards(recipe, executor)
    files = list_files(recipe)
    if not files and not shards:
        raise CorpusError("no Python in the recipe's sources: no .py file found")
    in_files = sum(file.num_bytes for file in files if file.drop_reason is None)
    return in_files + sum(
        shard.num_bytes * (1 if shard.format == "json" else MAX_COMPRESSION) for shard in shards
    )


def list_shards(recipe: CorpusRecipe, executor: Executor) -> list[Shard]:
    """List the shards of all table sources, in the recipe's order, then by name."""
    found: list[Shard] = []
    for number, source in enumerate(recipe.sources):
        if isinstance(source, RowSource):
            shards = list_local_shards(number, source.paths)
            if any(map(is_remote, source.paths)):
                shards += _list_remote(number, source.paths, executor)
                shards.sort(key=lambda shard: (shard.name, shard.location))
            found += shards
    return found


def _list_remote(number: int, paths: Sequence[str], executor: Executor) -> list[Shard]:
    (answer,) = executor.map("list", [json.dumps([number, paths])])
    values = json.loads(answer)
    names = ", ".join(filter(is_remote, paths))
    if "reason" in values:
        on_hub = [path for path in paths if path.startswith(HUB)]
        hint = f"; {how_to_copy(on_hub)}" if on_hub else ""
        raise CorpusError(f"corpus source {names}: cannot be listed ({values['reason']}){hint}")
    if not values["shards"]:
        raise UsageError(f"corpus source {names}: no .jsonl, .json, .parquet or .arrow file")
    return [Shard(**shard) for shard in values["shards"]]


def fingerprint(recipe: CorpusRecipe) -> str:
    """Return SHA-256 over names, links, sizes and modification times of the input.

    An unchanged fingerprint means the same corpus. Nothing is opened but the other files that the
    recipe names. URLs have no modification time: their names and sizes are used.

    :raises UsageError: a path of the recipe does not exist.
    """
    digest = hashlib.sha256(files_fingerprint(list_files(recipe)).encode())
    with Executor() as executor:
        for shard in list_shards(recipe, executor):
            digest.update(json.dumps(asdict(shard)).encode() + b"\n")
    for path in (recipe.opt_out, recipe.ratio_tokenizer, *recipe.decontamination.problems):
        if path is not None:
            digest.update(_hash(path))
    return digest.hexdigest()


def _hash(path: Path) -> bytes:
    """SHA-256 of a file, or of the tokenizer in a folder."""
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"
