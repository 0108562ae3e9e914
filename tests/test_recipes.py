"""The shipped recipes run unchanged on files in the layout they are written for."""

import gzip
import json
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeling.corpus.extract import extract
from codeling.recipe import CorpusRecipe, Recipe, read_recipe
from codeling.run import run

pytestmark = pytest.mark.usefixtures("corpus_process")
RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
SMALL = (
    "tokenizer.vocab_size=600", "model.n_layer=2", "model.n_head=2", "model.n_embd=64",
    "model.context_length=64", "training.tokens_per_step=512", "training.steps=4",
    "training.warm_start_steps=2",
    "training.threads=1", "training.validation_tokens=1024", "evaluation.max_bytes=4000",
    "evaluation.completions=2", "evaluation.max_new_tokens=4",
)  # fmt: skip
LIBRARY = Path(sysconfig.get_paths()["stdlib"])


def library(packages: str) -> Iterator[tuple[str, str, str]]:
    """(repository, path, text) of files of the standard library."""
    for package in packages.split():
        for path in sorted((LIBRARY / package).glob("*.py")):
            name = path.relative_to(LIBRARY).as_posix()
            yield f"python/{package}", name, path.read_text(encoding="utf-8")


def codesearchnet_rows() -> Iterator[dict[str, Any]]:
    """Rows in the original columns, for functions that CodeSearchNet would publish."""
    for repository, path, text in library("json email asyncio logging"):
        for found in extract(text):
            if found.docstring and "test" not in path and found.end_line - found.start_line > 2:
                yield {
                    "repo": repository, "path": path, "func_name": found.name,
                    "original_string": found.text, "language": "python", "code": found.text,
                    "code_tokens": found.tokens, "docstring": found.docstring,
                    "docstring_tokens": found.docstring_tokens, "sha": "ab" * 20,
                    "url": f"https://example.org/{path}#L{found.start_line}-L{found.end_line}",
                    "partition": "train",
                }  # fmt: skip


def codeparrot_rows() -> Iterator[dict[str, Any]]:
    for i, (repository, path, text) in enumerate(library("json email asyncio logging")):
        content = f"import pandas as pd\n{text}" if i % 3 else text
        yield {
            "repo_name": repository, "path": path, "copies": "1", "size": str(len(content)),
            "content": content, "license": "psf-2.0",
        }  # fmt: skip


def write_gzip(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def as_the_recipe_says(path: Path, folder: Path) -> Recipe:
    """The recipe with the ``--set`` options of its first lines and paths below ``folder``."""
    given = re.search(r"--set '(corpus\.sources=.*)'", path.read_text(encoding="utf-8"))
    assert given is not None
    sources = given[1].replace('paths=["data/', f'paths=["{folder}/data/')
    return read_recipe(path, [sources, *SMALL])


def test_the_shipped_recipes_are_listed() -> None:
    assert [path.stem for path in RECIPES] == ["codesearchnet", "data-science", "demo-gpu", "demo"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_is_read_and_resolved_unchanged(path: Path) -> None:
    recipe = read_recipe(path).resolved()
    assert recipe.corpus != CorpusRecipe() or path.stem in ("demo", "demo-gpu")
    assert recipe.training.steps is None


def test_codesearchnet_is_built_from_the_original_files(tmp_path: Path) -> None:
    rows = list(codesearchnet_rows())
    recipe = as_the_recipe_says(RECIPES[0], tmp_path)
    write_gzip(tmp_path / "data/python/final/jsonl/train/python_train_0.jsonl.gz", iter(rows))
    run(recipe, tmp_path / "run")
    report = json.loads((tmp_path / "run/corpus/report.json").read_bytes())
    assert report["totals"]["functions"] > 100
    kept = [
        row
        for part in sorted((tmp_path / "run/corpus").glob("*/functions-*.parquet"))
        for row in pq.read_table(part).to_pylist()
    ]
    published = {row["original_string"]: row for row in rows}
    redacted = [row for row in kept if row["whole_func_string"] not in published]
    assert 0 < len(redacted) <= sum(each["documents"] for each in report["redacted"].values())
    for row in kept:
        if row in redacted:
            continue
        theirs = published[row["whole_func_string"]]
        assert row["func_code_tokens"] == theirs["code_tokens"]
        assert row["func_documentation_string"] == theirs["docstring"]
        assert len(row["func_documentation_string_tokens"]) >= 3
        assert not row["func_name"].endswith("__")
    assert (tmp_path / "run/model/model.safetensors").exists()


@pytest.mark.parametrize("layout", ["json.gz", "parquet"])
def test_data_science_is_built_from_codeparrot_files(layout: str, tmp_path: Path) -> None:
    recipe = as_the_recipe_says(RECIPES[1], tmp_path)
    rows = list(codeparrot_rows())
    if layout == "parquet":
        (tmp_path / "data/codeparrot").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data/codeparrot/train-0.parquet")
        (source,) = recipe.corpus.sources
        local = source.model_copy(update={"paths": (str(tmp_path / "data/codeparrot"),)})
        corpus = recipe.corpus.model_copy(update={"sources": (local,)})
        recipe = recipe.model_copy(update={"corpus": corpus})
    else:
        write_gzip(tmp_path / "data/codeparrot/file-000000000001.json.gz", iter(rows))
    run(recipe, tmp_path / "run", until="corpus" if layout == "parquet" else "report")
    report = json.loads((tmp_path / "run/corpus/report.json").read_bytes())
    words = recipe.corpus.keywords
    outside = sum(not any(word in row["content"] for word in words) for row in rows)
    assert report["files_dropped"]["no_keyword"]["files"] == outside > 10
    assert report["totals"]["files"] > 20
    assert layout == "parquet" or (tmp_path / "run/model/model.safetensors").exists()
