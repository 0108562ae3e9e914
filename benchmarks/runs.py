"""Trainings that are set side by side: one a cell, each done once, whatever kills the benchmark.

A cell is one training of one row of a table with one seed. Its result is a line of OUT/cells.jsonl;
vocabularies and token files are kept beside it. ``tokenizer/comparison.py`` varies how text is
split, ``training/ablations.py`` how it is trained. Rows that have the same time may be given it as
tokens, from rates that are measured first, by turns (:meth:`Bench.tokens_in`): then what else the
machine does while cells are trained changes nothing.
"""

import argparse
import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.corpus.document import Document, iterate
from codeling.dataset.mixture import Owners, read_owners
from codeling.dataset.tokens import TokenFile, open_tokens, write_tokens
from codeling.evaluation.data.document_sample import sample_documents
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import Recipe, parse_recipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics
from codeling.training.checkpoint import state
from codeling.training.data import TrainingData
from codeling.training.machine import choose_device
from codeling.training.trainer import train

Result = dict[str, Any]

RATE_ROUNDS, RATE_STEPS = 3, 16
"""How often and how long each row is trained to know its rate; the first half of the steps is
warm-up."""


@dataclass(frozen=True)
class Cell:
    """One training."""

    row: str
    vocab_size: int
    seed: int
    model: str
    budget: str
    recipe: str
    """Of the settings of model, training and tokenizer, the beginning of their SHA-256."""

    @property
    def key(self) -> str:
        """As a file's name."""
        name = "-".join(str(value) for value in vars(self).values())
        return "".join(c if c.isalnum() else "-" for c in name)


def add_options(parser: argparse.ArgumentParser, *, minutes: float) -> None:
    """What every comparison asks for; ``minutes`` of a training unless it says otherwise."""
    parser.add_argument("run", type=Path, help="a run folder with a corpus")
    parser.add_argument("--out", type=Path, required=True, help="where cells and caches are kept")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=minutes, help="of each training")
    budget.add_argument("--tokens", type=int, help="of each training, instead of minutes")
    budget.add_argument("--steps", type=int, help="of each training, instead of minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="nano", help="model.size")
    parser.add_argument("--set", action="append", default=[], help="as codeling run takes it")
    parser.add_argument("--score-bytes", type=int, default=400_000, help="of validation text")


class Bench:
    """A corpus, a budget, and the cells that are done."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.run: Path = asked.run
        self.out: Path = asked.out
        self._asked = asked
        self._length = f"minutes = {asked.minutes}"
        if asked.tokens or asked.steps:
            self._length = f"tokens = {asked.tokens}" if asked.tokens else f"steps = {asked.steps}"
        self.out.mkdir(parents=True, exist_ok=True)

    def recipe(self, changes: Sequence[str] = (), length: str | None = None) -> Recipe:
        """What was asked for, with ``changes`` (KEY=VALUE) or another ``length`` of training."""
        text = f'[tokenizer]\nvocab_size = "auto"\n[model]\nsize = "{self._asked.size}"\n'
        text += f"[training]\n{length or self._length}"
        return parse_recipe(text, [*self._asked.set, *changes]).resolved()

    def tokens_in(self, minutes: float, rows: Sequence[tuple[str, Tokenizer]]) -> list[int]:
        """The tokens that each row's training takes in so long, by rates measured in turns and
        what stands before the first step; where all of them are in OUT/rates.json, nothing is
        measured again.
        """
        path = self.out / "rates.json"
        kept: dict[str, list[float]] = json.loads(path.read_bytes()) if path.exists() else {}
        keys = [f"{self._asked.size} {row} {each.vocab_size}" for row, each in rows]
        if not kept.keys() >= set(keys):
            found: dict[str, list[tuple[float, float]]] = {key: [] for key in keys}
            seldom = [f"training.{kind}_interval=1" for kind in ("validation", "sample")]
            seldom.append("training.validation_tokens=10000")
            recipe = self.recipe(seldom, f"steps = {RATE_STEPS}")
            for _ in range(RATE_ROUNDS):
                for key, row in zip(keys, rows, strict=True):
                    found[key].append(self._rate(*row, recipe))
            for key, turns in found.items():
                kept[key] = [statistics.median(each) for each in zip(*turns, strict=True)]
            path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        return [int((60 * minutes - before) * rate) for rate, before in (kept[key] for key in keys)]

    def _rate(self, row: str, tokenizer: Tokenizer, recipe: Recipe) -> tuple[float, float]:
        """Tokens a second of a short training, and the seconds before its first step."""
        folder = self.out / "cells" / f"rate {row}"
        shutil.rmtree(folder, ignore_errors=True)
        train(recipe.training, *self._inputs(row, tokenizer, recipe), folder)
        lines = [each for each in metrics.read(folder / "metrics.jsonl") if each["kind"] == "step"]
        shutil.rmtree(folder)
        rates: list[float] = [each["tokens_per_second"] for each in lines[len(lines) // 2 :]]
        first = lines[0]
        before = first["seconds"] - first["tokens"] / first["tokens_per_second"]
        return statistics.median(rates), before

    def cell(self, row: str, tokenizer: Tokenizer, seed: int, recipe: Recipe) -> Cell:
        """The place of a training in the table."""
        chosen = recipe.model_dump(include={"model", "training", "tokenizer"}, mode="json")
        digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]
        budget = self._length.replace(" ", "")
        return Cell(row, tokenizer.vocab_size, seed, self._asked.size, budget, digest)

    def results(self) -> list[Result]:
        """Of the cells that are done; a line that a kill has torn is none."""
        path = self.out / "cells.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}}")]

    def is_done(self, cell: Cell) -> bool:
        """Whether it has a result."""
        return any(each["cell"] == vars(cell) for each in self.results())

    def missing(
        self, rows: Mapping[str, Sequence[str]], tokenizer: Tokenizer
    ) -> Iterator[tuple[str, Cell, Recipe]]:
        """Name, cell and recipe of what is not done of ``rows``, name → what is set; by seeds."""
        for seed in range(self._asked.seeds):
            for name, changes in rows.items():
                recipe = self.recipe(changes)
                cell = self.cell(name, tokenizer, seed, recipe)
                if not self.is_done(cell):
                    yield name, cell, recipe

    def keep(self, cell: Cell, result: Result) -> None:
        """Add a result."""
        result = {**result, "cell": vars(cell)}
        with (self.out / "cells.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)

    def texts(self, split: str) -> Iterator[str]:
        """The files of a split."""
        return (document.text for document in iterate(self.run / "corpus", split, "files"))

    def held_out(self) -> list[str]:
        """The validation documents that cells are scored on, the same for all: about as much of
        each repository, or one that is large would be all that counts.
        """
        of: dict[str, list[Document]] = {}
        for document in iterate(self.run / "corpus", "validation", "files"):
            of.setdefault(document.repository, []).append(document)
        left, found = self._asked.score_bytes, []
        smallest_first = sorted(of.values(), key=lambda each: sum(len(d.text) for d in each))
        for number, documents in enumerate(smallest_first):
            share = left // (len(of) - number)
            for document in sample_documents(documents, seed=0, max_bytes=share):
                text = document.text.encode()[:share]  # the last one goes over
                found.append(text.decode(errors="ignore"))
                share -= len(text)
                left -= len(text)
        return found

    def tokens(self, name: str, tokenizer: Tokenizer, split: str) -> TokenFile:
        """A split as ids, made once for each tokenizer, which has a name."""
        path = self.out / "tokens" / f"{name} {tokenizer.vocab_size}" / f"{split}.bin"
        if path.with_suffix(".idx").exists():
            return open_tokens(path)
        return write_tokens(self.texts(split), tokenizer, path)

    def train(
        self, cell: Cell, name: str, tokenizer: Tokenizer, recipe: Recipe
    ) -> tuple[GPT2, Result]:
        """Train one cell with the tokenizer called ``name`` and score it in bits per byte."""
        config, inputs = self._inputs(name, tokenizer, recipe)
        settings = recipe.training.model_copy(update={"seed": cell.seed})
        folder = self.out / "cells" / cell.key
        began = time.perf_counter()
        result = train(settings, config, inputs, folder, identity=cell.key)
        seconds = time.perf_counter() - began
        model = GPT2(config)
        model.load_state_dict(state.load(result.checkpoint).model)
        model.to(choose_device(settings.device))
        shutil.rmtree(folder)
        scored = bits_per_byte(model, tokenizer, self.held_out(), max_bytes=self._asked.score_bytes)
        return model, {
            "num_tokens": result.num_tokens,
            "num_parameters": config.num_parameters,
            "seconds": seconds,
            "bytes_per_token": scored.num_bytes / scored.num_tokens,
            "bits_per_byte": scored.value,
        }

    def _inputs(
        self, name: str, tokenizer: Tokenizer, recipe: Recipe
    ) -> tuple[GPT2Config, TrainingData]:
        """The network's shape and what it is trained on."""
        shape = recipe.model.model_dump(exclude={"size"})
        train, validation = (self.tokens(name, tokenizer, s) for s in ("train", "validation"))
        owners = self._owners()
        config = GPT2Config(vocab_size=tokenizer.vocab_size, **shape)
        return config, TrainingData(tokenizer, train, validation, owners)

    def _owners(self) -> NDArray[np.int64]:
        """Number of the repository of each document of the train split, as a run has it."""
        path = self.out / "owners.json"
        if not path.exists():
            owners = Owners()
            for _ in owners.texts(iterate(self.run / "corpus", "train", "files")):
                pass
            owners.write(path)
        return read_owners(path)


def print_table(results: Sequence[Result], first: str, extra: dict[str, str]) -> None:
    """Means over the seeds, how far they spread, and how much more than the row ``first``; in
    pairs of one seed, which share their order, also how far that difference spreads.

    ``extra``: further figures to print, name in a result → head of its column.
    """
    groups: dict[tuple[str, str, str, int], list[Result]] = {}
    for each in results:
        cell = each["cell"]
        key = (cell["model"], cell["budget"], cell["row"], cell["vocab_size"])
        groups.setdefault(key, []).append(each)
    base = {
        (cell["model"], cell["budget"], cell["seed"]): each["bits_per_byte"]
        for each in results
        if (cell := each["cell"])["row"] == first
    }
    heads = ["model", "budget", "row", "entries", "seeds", "tokens", "seconds", "bits per byte"]
    heads += ["spread", f"over {first}", *extra.values()]
    print("| " + " | ".join(heads) + " |")
    print("|---|---|---|" + "---:|" * (len(heads) - 3))
    for key, group in sorted(groups.items()):
        values = [each["bits_per_byte"] for each in group]
        over = [
            100 * (each["bits_per_byte"] / base[place] - 1)
            for each in group
            if (place := (key[0], key[1], each["cell"]["seed"])) in base
        ]
        difference = statistics.mean(over) if over else math.nan
        figures = [
            f"{statistics.mean(each[name] for each in group):.3f}" if name in group[0] else ""
            for name in extra
        ]
        columns = [
            key[0], key[1], key[2], f"{key[3]:,}", str(len(group)),
            f"{statistics.mean(each['num_tokens'] for each in group):,.0f}",
            f"{statistics.mean(each['seconds'] for each in group):,.0f}",
            f"**{statistics.mean(values):.3f}**", f"{max(values) - min(values):.3f}",
            f"{difference:+.1f} % ({', '.join(f'{each:+.1f}' for each in over)})", *figures,
        ]  # fmt: skip
        print("| " + " | ".join(columns) + " |")
