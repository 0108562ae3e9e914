"""Extraction on two cores is at least 1.7 times as fast as a plain tree-sitter loop.

Three ways alternate over the same files of the installed Python: our extraction of `codeling
corpus`, from files on disk to rows on disk, with one process per core; a plain loop in one process
that walks the syntax trees to the same functions and tokens and keeps them in memory; and
`ast.parse` of every file. Parsing with tree-sitter alone is the upper bound for one core. The
records of the first two ways are compared first.

Our time includes the start of the worker processes, about one second. Takes three minutes on two
cores.

    python -m benchmarks.corpus.extract --megabytes 40 --rounds 3
"""

import argparse
import ast
import json
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tree_sitter import Node, Parser

from benchmarks.timing import seconds
from codeling import source_text
from codeling.cores import usable_cores
from codeling.corpus.build.executor import Executor
from codeling.corpus.build.work_folder import CHOSEN_SCHEMA, work_file
from codeling.corpus.decontamination import problem_sets
from codeling.corpus.extract import LANGUAGE, tokenize_docstring
from codeling.corpus.filters.opt_out import OptOut
from codeling.corpus.sources.files import SourceFile, list_files
from codeling.corpus.sources.partitions import Partition, make_partitions
from codeling.recipe import CorpusRecipe
from codeling.recipe.cleaning import Redaction

Record = tuple[str, str, tuple[str, ...], str, tuple[str, ...], int, int]
"""Name, text, tokens, docstring, tokens of the docstring, first and last line."""

NO_FILTERS = CorpusRecipe(
    min_function_lines=1,
    empty_bodies=True,
    test_functions=True,
    dunder_methods=True,
    exclude=(),
    redaction=Redaction(kinds=()),
)
"""Every function is extracted, so that both ways do the same work."""


def plain_records(text: str) -> Iterator[Record]:
    """The functions of a file, by walking the tree node by node."""
    root = Parser(LANGUAGE).parse(text.encode()).root_node
    for node, scope in _functions(root):
        body = node.child_by_field_name("body")
        statements = body.children if body is not None else []
        documentation = next(
            (
                child
                for statement in statements
                if statement.type == "expression_statement"
                and (child := statement.child(0)) is not None
                and child.type == "string"
            ),
            None,
        )
        docstring = _text(documentation).strip().strip('"').strip("'").strip()
        yield (
            scope + _text(node.child_by_field_name("name")),
            _text(node).strip(),
            tuple(_leaves(node, documentation)),
            docstring,
            tuple(tokenize_docstring(docstring)),
            node.start_point.row + 1,
            node.end_point.row + 1,
        )


def _functions(root: Node) -> Iterator[tuple[Node, str]]:
    for outer in root.named_children:
        node = _definition(outer)
        if node.type == "function_definition":
            yield node, ""
        elif node.type == "class_definition":
            scope = _text(node.child_by_field_name("name")) + "."
            body = node.child_by_field_name("body")
            for inner in body.named_children if body is not None else []:
                method = _definition(inner)
                if method.type == "function_definition":
                    yield method, scope


def _definition(node: Node) -> Node:
    if node.type == "decorated_definition":
        return node.child_by_field_name("definition") or node
    return node


def _leaves(node: Node, skip: Node | None) -> Iterator[str]:
    if node.type == "string":
        if node != skip:
            yield _text(node)
    elif node.child_count:
        for child in node.children:
            yield from _leaves(child, skip)
    elif node.type == "**" and node.parent is not None and "splat" in node.parent.type:
        yield from "**"
    elif node.type != "line_continuation" and (text := _text(node)):
        yield from text.split() if node.type in {"not in", "is not"} else [text]


def _text(node: Node | None) -> str:
    return (node.text or b"").decode("utf-8", "replace") if node is not None else ""


class Ours:
    """The extraction of a corpus build, with a started executor and selected documents."""

    def __init__(self, files: list[SourceFile], folder: Path, executor: Executor) -> None:
        self._folder, self._executor = folder, executor
        self._partitions = make_partitions(files, [])
        self._num_bytes = sum(file.num_bytes for file in files)
        OptOut.read(None).save(folder / "opt-out.json")
        problem_sets.save([], folder / "problems.json")
        for partition in self._partitions:
            number = len(partition.files)
            columns = [np.zeros(number, np.int8), np.ones(number, np.int64), np.ones(number, bool)]
            with pa.ipc.new_file(str(self._file("chosen", partition)), CHOSEN_SCHEMA) as writer:
                batch = pa.record_batch([pa.array(c) for c in columns], schema=CHOSEN_SCHEMA)
                writer.write_batch(batch)

    def __call__(self) -> None:
        """Extract from every file and write the rows of both tables into the folder."""
        recipe = NO_FILTERS.model_dump(mode="json")
        settings = json.dumps({"recipe": recipe, "folder": str(self._folder)})
        tasks = [partition.to_json() for partition in self._partitions]
        for _ in self._executor.map("extraction", tasks, settings, self._num_bytes):
            pass

    def records(self) -> Iterator[Record]:
        """The extracted functions."""
        for partition in self._partitions:
            with pa.OSFile(str(self._file("functions", partition))) as file:
                for row in pa.ipc.open_file(file).read_all().to_pylist():
                    yield (
                        row["func_name"],
                        row["whole_func_string"],
                        tuple(row["func_code_tokens"]),
                        row["func_documentation_string"],
                        tuple(row["func_documentation_string_tokens"]),
                        row["start_line"],
                        row["end_line"],
                    )

    def _file(self, kind: str, partition: Partition) -> Path:
        return work_file(self._folder, kind, partition.number)


def chosen_files(num_bytes: int) -> list[SourceFile]:
    """Decodable files of the installed Python, evenly chosen, about ``num_bytes`` in total."""
    listed = [file for file in list_files(NO_FILTERS) if file.drop_reason is None]
    listed = [file for file in listed if file.num_bytes <= NO_FILTERS.max_bytes]
    every = max(1, sum(file.num_bytes for file in listed) // num_bytes)
    found = []
    for file in listed[::every]:
        try:
            source_text.decode(Path(file.location).read_bytes())
        except (OSError, source_text.UndecodableError):
            continue
        found.append(file)
    return found


def loop_over(files: list[SourceFile], work: Callable[[str], object]) -> Callable[[], None]:
    """A plain loop over the files: read, decode, ``work``."""

    def loop() -> None:
        for file in files:
            work(source_text.decode(Path(file.location).read_bytes()))

    return loop


def parse_ast(text: str) -> None:
    """Parse with ``ast`` and ignore errors."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


PARSE_ALONE = "tree-sitter's parse alone"


def show(result: dict[str, Any]) -> None:
    """Print one line for each way, and the ratios."""
    print(f"{result['files']:,} files of the installed Python, {result['megabytes']:.1f} MB")
    print(
        f"{result['functions']:,} functions, {result['functions_differing']} of them "
        f"different between the two ways; {result['cores']} cores"
    )
    for name, rate in result["megabytes_per_second"].items():
        note = " (upper bound for one core)" if name == PARSE_ALONE else ""
        print(f"{name}: {rate:.1f} MB/s{note}")
    for name, ratio in result["times_as_fast_as"].items():
        print(f"codeling is {ratio:.2f} times as fast as {name}")


def main() -> None:
    """Compare the records and measure all ways."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=40, help="size of the input (default: 40)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    files = chosen_files(options.megabytes * 1_000_000)
    megabytes = sum(file.num_bytes for file in files) / 1e6
    with tempfile.TemporaryDirectory() as folder, Executor() as executor:
        ours = Ours(files, Path(folder), executor)
        ours()
        texts = (source_text.decode(Path(file.location).read_bytes()) for file in files)
        theirs = [record for text in texts for record in plain_records(text)]
        found = list(ours.records())
        assert len(found) == len(theirs), "both ways find the same functions"
        differing = sum(a != b for a, b in zip(found, theirs, strict=True))
        number = len(found)
        del found, theirs
        ways: dict[str, Callable[[], None]] = {
            "codeling": ours,
            "plain tree-sitter loop": loop_over(files, lambda text: list(plain_records(text))),
            "ast.parse alone": loop_over(files, parse_ast),
            PARSE_ALONE: loop_over(files, lambda text: Parser(LANGUAGE).parse(text.encode())),
        }
        times = [{name: seconds(way) for name, way in ways.items()} for _ in range(options.rounds)]
    result = {
        "files": len(files),
        "megabytes": megabytes,
        "functions": number,
        "functions_differing": differing,
        "cores": usable_cores(),
        "rounds": options.rounds,
        "megabytes_per_second": {
            name: megabytes / statistics.median(round_[name] for round_ in times) for name in ways
        },
        "times_as_fast_as": {
            name: statistics.median(round_[name] / round_["codeling"] for round_ in times)
            for name in list(ways)[1:]
        },
    }
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
