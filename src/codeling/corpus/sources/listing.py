"""What there is to read: the files of all sources and the shards of rows, cut into partitions.

Nothing is opened but the footers of Parquet files and the line ends of plain JSON, by the
executor; what is behind a URL is listed by it too. This module must not know what a file says.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from codeling.corpus.build.executor import Executor
from codeling.corpus.sources.files import Repository, list_files
from codeling.corpus.sources.files import fingerprint as files_fingerprint
from codeling.corpus.sources.partitions import Partition, partitions
from codeling.corpus.sources.shards import Piece, Shard, is_remote, local_shards
from codeling.errors import CorpusError, UsageError
from codeling.recipe import CorpusRecipe, RowSource


@dataclass(frozen=True)
class Listing:
    """The whole input, in the corpus's order."""

    partitions: Sequence[Partition]
    repositories: Mapping[str, Repository]
    """Name → listed repository, in order; rows of tables have none."""
    fingerprint: str


def list_input(recipe: CorpusRecipe, executor: Executor) -> Listing:
    """Everything that there is to read.

    :raises UsageError: a path of the recipe does not exist.
    :raises CorpusError: what is behind a URL cannot be listed.
    """
    files = list_files(recipe)
    shards = list_shards(recipe, executor)
    answers = executor.map("look", [json.dumps(asdict(shard)) for shard in shards])
    pieces = [[Piece(**values) for values in json.loads(answer)] for answer in answers]
    return Listing(
        partitions(files, zip(shards, pieces, strict=True)),
        {file.repository.name: file.repository for file in files},
        files_fingerprint(files),
    )


def list_shards(recipe: CorpusRecipe, executor: Executor) -> list[Shard]:
    """The shards of all sources of rows, in the recipe's order, then by name."""
    found: list[Shard] = []
    for number, source in enumerate(recipe.sources):
        if isinstance(source, RowSource):
            shards = local_shards(number, source.paths)
            if any(map(is_remote, source.paths)):
                shards += _remote(number, source.paths, executor)
                shards.sort(key=lambda shard: (shard.name, shard.location))
            found += shards
    return found


def _remote(number: int, paths: Sequence[str], executor: Executor) -> list[Shard]:
    (answer,) = executor.map("list", [json.dumps([number, paths])])
    values = json.loads(answer)
    names = ", ".join(filter(is_remote, paths))
    if "reason" in values:
        raise CorpusError(f"corpus source {names}: cannot be listed ({values['reason']})")
    if not values["shards"]:
        raise UsageError(f"corpus source {names}: no .jsonl, .json, .parquet or .arrow file there")
    return [Shard(**shard) for shard in values["shards"]]


def fingerprint(recipe: CorpusRecipe) -> str:
    """SHA-256 over what would be read: names, links, sizes, times of change.

    Cheap, for nothing is opened; where it is unchanged the corpus would come out the same. What
    is behind a URL has no time of change: its name and size stand for it.

    :raises UsageError: a path of the recipe does not exist.
    """
    digest = hashlib.sha256(files_fingerprint(list_files(recipe)).encode())
    with Executor() as executor:
        for shard in list_shards(recipe, executor):
            digest.update(json.dumps(asdict(shard)).encode() + b"\n")
    for path in (recipe.opt_out, recipe.ratio_tokenizer, *recipe.decontamination.problems):
        if path is not None:
            digest.update(_content(path))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    """Of a file that the recipe names, or of its tokenizer where it is a folder."""
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b"unreadable"
