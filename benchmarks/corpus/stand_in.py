"""A stand-in for codeparrot made from installed packages: its columns, file names and row count.

Where the Hub cannot be reached, the recipe for data science runs on it as on codeparrot itself. The
first rows are the files of the running interpreter and its packages, under the names and licences
of their distributions. The others, up to ``--rows``, are classes and functions of these files, each
with the imports of its file, which are the last thing that a filter for keywords should miss. Rows
are in random order, as in codeparrot, and go to ``file-000000000001.json.gz`` and so on.

    python -m benchmarks.corpus.stand_in --rows 100000 --out data/codeparrot
    codeling run recipes/data-science.toml \
        --set 'corpus.sources=[{kind="codeparrot", paths=["data/codeparrot/*.json.gz"]}]'
"""

import argparse
import ast
import gzip
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from codeling.corpus.sources.files import SourceFile, list_files
from codeling.recipe import CorpusRecipe
from codeling.source_text import UndecodableError, decode

ROWS_PER_FILE = 10_000
LEAST_BYTES = 200
"""Smaller definitions do not get rows of their own."""


def rows(files: list[SourceFile]) -> Iterator[dict[str, str]]:
    """Every file, then the definitions of every file, each with the imports of its file."""
    texts = {}
    for file in files:
        try:
            texts[file] = decode(Path(file.location).read_bytes())
        except (OSError, UndecodableError):
            continue
        yield row(file, file.path, texts[file])
    for file, text in texts.items():
        try:
            module = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        lines = text.splitlines(keepends=True)
        pieces = [
            (node, "".join(lines[node.lineno - 1 : node.end_lineno])) for node in module.body[:200]
        ]
        imports = "".join(
            piece for node, piece in pieces if isinstance(node, ast.Import | ast.ImportFrom)
        )
        for node, piece in pieces:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and len(piece) >= LEAST_BYTES:
                path = f"{file.path.removesuffix('.py')}/{node.name}.py"
                yield row(file, path, f"{imports}\n\n{piece}")


def row(file: SourceFile, path: str, content: str) -> dict[str, str]:
    """One row in codeparrot's columns, all of them strings."""
    return {
        "repo_name": file.repository.name,
        "path": path,
        "copies": "1",
        "size": str(len(content.encode("utf-8", "replace"))),
        "content": content,
        "license": file.repository.license,
    }


def main() -> None:
    """Write the rows and say what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=Path("data/codeparrot"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    files = [file for file in list_files(CorpusRecipe(exclude=())) if file.drop_reason is None]
    found = list(islice(rows(files), arguments.rows))
    random.Random(arguments.seed).shuffle(found)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(found), ROWS_PER_FILE), start=1):
        lines = (json.dumps(each) + "\n" for each in found[start : start + ROWS_PER_FILE])
        path = arguments.out / f"file-{number:012}.json.gz"
        path.write_bytes(gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0))
    num_bytes = sum(int(each["size"]) for each in found)
    repositories = len({each["repo_name"] for each in found})
    print(
        f"{len(found):,} rows of {repositories:,} distributions, {num_bytes / 1e6:,.0f} MB, "
        f"from {len(files):,} files"
    )


if __name__ == "__main__":
    main()
