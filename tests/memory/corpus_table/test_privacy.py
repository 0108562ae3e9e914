"""What the corpus leaves out cannot be reached from its table: secrets, opt-outs, benchmarks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeling.corpus.document import iterate
from codeling.memory.corpus_table.counting import CorpusTokens
from codeling.memory.corpus_table.table import CorpusTable
from codeling.memory.corpus_table.table_builder import build
from codeling.recipe import Recipe
from codeling.run import run
from codeling.tokenizer.tokenizer import Tokenizer

from ...corpus.redaction.planted import key_lines

pytestmark = pytest.mark.usefixtures("corpus_process")

SECRET = key_lines(1, seed=5)[0]
"""A line with a key, and the key."""
PROBLEM = (
    "def separate_quux(frobs, threshold):\n"
    '    """Separate the frobs whose quux is above the threshold from all others.\n'
    "    >>> separate_quux([3, 7, 12], 5)\n    ([7, 12], [3])\n"
    '    """\n',
    "    above = [frob for frob in frobs if frob > threshold]\n"
    "    return above, [frob for frob in frobs if frob <= threshold]\n",
)
PRIVATE = "def zygote_ledger(wombats):\n    return sum(w.marsupial_index ** 3 for w in wombats)\n"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, python_files: list[str]) -> Path:
    """Repositories with ordinary files; each of three also has what must not be found."""
    root = tmp_path_factory.mktemp("sources")
    planted = {"keys": SECRET[0] + "\n", "answers": "".join(PROBLEM), "private": PRIVATE}
    for number, (name, extra) in enumerate(planted.items()):
        (root / name).mkdir()
        for copy in range(4):
            text = python_files[4 + 4 * number + copy][:4000].rpartition("\n")[0]
            docstring = f'"""File {copy} of {name}."""\n'
            body = text if _parses(text) else "import os\n" * 5
            (root / name / f"file_{copy}.py").write_text(f"{docstring}{extra}\n{body}\n")
    problem = {
        "task_id": "Quux/0", "prompt": PROBLEM[0], "canonical_solution": PROBLEM[1],
        "test": "def check(candidate):\n    assert candidate([], 1) == ([], [])\n",
        "entry_point": "separate_quux",
    }  # fmt: skip
    (root / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    (root / "opt_out.txt").write_text("private\n")
    return root


def _parses(text: str) -> bool:
    try:
        compile(text, "file", "exec")
    except SyntaxError:
        return False
    return True


def table_of(
    sources: Path, folder: Path, tokenizer: Tokenizer, corpus: dict[str, Any]
) -> CorpusTable:
    """The whole table of a corpus of the sources' folders."""
    values = {
        "sources": [
            {"kind": "folder", "path": str(path)}
            for path in sorted(sources.iterdir())
            if path.is_dir()
        ],
        "validation_share": 0.0,
        "test_share": 0.0,
        "near_duplicates": {"enabled": False},
        **corpus,
    }
    run(Recipe.model_validate({"corpus": values}), folder, until="corpus")
    texts = [document.text for document in iterate(folder / "corpus", "train", "files")]
    documents = [tokenizer.encode(text) for text in texts]
    tokens = CorpusTokens(
        np.array([i for ids in documents for i in ids], np.uint16),
        np.cumsum([0, *map(len, documents)]),
        tokenizer.vocab_size,
        tokenizer.end_of_text,
    )
    return build(tokens, folder / "table.safetensors", 10_000_000, tokenizer.digest)


@pytest.fixture(scope="module")
def known(
    sources: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], float]:
    """The share of a text's 5-grams that the table of a cleaned or raw corpus has."""
    folder = tmp_path_factory.mktemp("tables")
    made = {
        "cleaned": table_of(
            sources,
            folder / "cleaned",
            tokenizer,
            {
                "opt_out": str(sources / "opt_out.txt"),
                "decontamination": {"problems": [str(sources / "problems.jsonl")]},
            },
        ),
        "raw": table_of(sources, folder / "raw", tokenizer, {"redaction": {"kinds": []}}),
    }

    def share(name: str, text: str) -> float:
        table = made[name]
        ids = tokenizer.encode(text)
        found = [
            proposal.order == 4 and following in proposal.ids
            for proposal, following in (
                (table.propose(np.array(ids[place - 4 : place])), ids[place])
                for place in range(4, len(ids))
            )
        ]
        return sum(found) / len(found)

    return share


@pytest.mark.parametrize("text", [SECRET[1], PROBLEM[1], PRIVATE], ids=["key", "problem", "opted"])
def test_text_that_was_removed_from_the_corpus_is_not_in_its_table(
    known: Callable[[str, str], float], text: str
) -> None:
    assert known("raw", text) > 0.9, "the test would notice it"
    assert known("cleaned", text) < 0.2
