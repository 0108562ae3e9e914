"""Trainings that differ in one thing, and their results side by side.

A run is one training of one variant with one seed. Its result is a line of OUT/runs.jsonl, so an
interrupted benchmark continues with the next run. Vocabularies and token files are cached in OUT.
``tokenizer/comparison.py`` varies how text is split into tokens, ``training/ablations.py`` how the
model is trained.

A time limit can be converted into a number of tokens, by rates that are measured first
(:meth:`Comparison.tokens_within`). Other load on the machine then has no influence on the results.
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
from codeling.dataset.mixture import RepositoryRecorder, read_repository_numbers
from codeling.dataset.tokens import TokenFile, open_tokens, write_tokens
from codeling.evaluation.data.document_sample import sample_documents
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.generation.scoring import TorchScorer
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
"""Trainings of each variant, and steps of each, to measure its rate. The first half of the steps
is warm-up."""


@dataclass(frozen=True)
class Run:
    """What identifies one training."""

    variant: str
    vocab_size: int
    seed: int
    model: str
    budget: str
    recipe: str
    """First digits of the SHA-256 of the settings of model, training and tokenizer."""

    @property
    def file_name(self) -> str:
        """All fields as a file name."""
        name = "-".join(str(value) for value in vars(self).values())
        return "".join(c if c.isalnum() else "-" for c in name)


def add_options(parser: argparse.ArgumentParser, *, minutes: float) -> None:
    """Add the options of every comparison; ``minutes`` is the default length of a training."""
    parser.add_argument("folder", metavar="RUN", type=Path, help="run folder with a corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder of results and caches")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--minutes", type=float, default=minutes, help="length of a training (default: %(default)s)"
    )
    budget.add_argument("--tokens", type=int, help="length of a training in tokens")
    budget.add_argument("--steps", type=int, help="length of a training in steps")
    parser.add_argument(
        "--seeds", type=int, default=3, help="trainings of a variant (default: %(default)s)"
    )
    parser.add_argument("--size", default="nano", help="model.size (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe key"
    )
    parser.add_argument(
        "--score-bytes",
        type=int,
        default=400_000,
        help="bytes of validation text to score (default: %(default)s)",
    )


class Comparison:
    """A corpus, the length of a training, and the results so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder: Path = options.folder
        self.out: Path = options.out
        self._options = options
        self._length = f"minutes = {options.minutes}"
        if options.tokens:
            self._length = f"tokens = {options.tokens}"
        elif options.steps:
            self._length = f"steps = {options.steps}"
        self.out.mkdir(parents=True, exist_ok=True)

    def recipe(self, changes: Sequence[str] = (), length: str | None = None) -> Recipe:
        """The recipe of a run with ``changes`` (KEY=VALUE) or another ``length`` (KEY = VALUE)."""
        text = f'[tokenizer]\nvocab_size = "auto"\n[model]\nsize = "{self._options.size}"\n'
        text += f"[training]\n{length or self._length}"
        return parse_recipe(text, [*self._options.set, *changes]).resolved()

    def tokens_within(self, minutes: float, variants: Sequence[tuple[str, Tokenizer]]) -> list[int]:
        """Number of tokens that each variant is trained on within ``minutes``.

        The rates, and the time before the first step, are measured in turns and cached in
        OUT/rates.json.
        """
        path = self.out / "rates.json"
        rates: dict[str, list[float]] = json.loads(path.read_bytes()) if path.exists() else {}
        keys = [f"{self._options.size} {name} {each.vocab_size}" for name, each in variants]
        if not rates.keys() >= set(keys):
            measured: dict[str, list[tuple[float, float]]] = {key: [] for key in keys}
            rarely = [f"training.{kind}_interval=1" for kind in ("validation", "sample")]
            rarely.append("training.validation_tokens=10000")
            recipe = self.recipe(rarely, f"steps = {RATE_STEPS}")
            for _ in range(RATE_ROUNDS):
                for key, (name, tokenizer) in zip(keys, variants, strict=True):
                    measured[key].append(self._rate(name, tokenizer, recipe))
            for key, rounds in measured.items():
                rates[key] = [statistics.median(each) for each in zip(*rounds, strict=True)]
            path.write_text(json.dumps(rates, indent=1), encoding="utf-8")
        return [
            int((60 * minutes - startup) * rate) for rate, startup in (rates[key] for key in keys)
        ]

    def _rate(self, variant: str, tokenizer: Tokenizer, recipe: Recipe) -> tuple[float, float]:
        """Tokens per second of a short training, and the seconds before its first step."""
        folder = self.out / "runs" / f"rate {variant}"
        shutil.rmtree(folder, ignore_errors=True)
        train(recipe.training, *self._data(variant, tokenizer, recipe), folder)
        lines = [each for each in metrics.read(folder / "metrics.jsonl") if each["kind"] == "step"]
        shutil.rmtree(folder)
        rates: list[float] = [each["tokens_per_second"] for each in lines[len(lines) // 2 :]]
        first = lines[0]
        startup = first["seconds"] - first["tokens"] / first["tokens_per_second"]
        return statistics.median(rates), startup

    def run(self, variant: str, tokenizer: Tokenizer, seed: int, recipe: Recipe) -> Run:
        """Identify one training."""
        settings = recipe.model_dump(include={"model", "training", "tokenizer"}, mode="json")
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
        budget = self._length.replace(" ", "")
        return Run(variant, tokenizer.vocab_size, seed, self._options.size, budget, digest)

    def results(self) -> list[Result]:
        """The results so far. A line that is cut off does not count."""
        path = self.out / "runs.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}}")]

    def is_done(self, run: Run) -> bool:
        """Whether there is a result of ``run``."""
        return any(each["run"] == vars(run) for each in self.results())

    def missing(
        self, variants: Mapping[str, Sequence[str]], tokenizer: Tokenizer
    ) -> Iterator[tuple[str, Run, Recipe]]:
        """Variant, run and recipe of the runs without result, seed by seed.

        ``variants``: name → changes of the recipe (KEY=VALUE).
        """
        for seed in range(self._options.seeds):
            for variant, changes in variants.items():
                recipe = self.recipe(changes)
                run = self.run(variant, tokenizer, seed, recipe)
                if not self.is_done(run):
                    yield variant, run, recipe

    def save(self, run: Run, result: Result) -> None:
        """Append the result of ``run`` to OUT/runs.jsonl and print it."""
        result = {**result, "run": vars(run)}
        with (self.out / "runs.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)

    def texts(self, split: str) -> Iterator[str]:
        """The texts of the files of a split."""
        return (document.text for document in iterate(self.folder / "corpus", split, "files"))

    def validation_texts(self) -> list[str]:
        """The texts that every run is scored on.

        All repositories get about the same number of bytes, so that no large one dominates.
        """
        by_repository: dict[str, list[Document]] = {}
        for document in iterate(self.folder / "corpus", "validation", "files"):
            by_repository.setdefault(document.repository, []).append(document)
        remaining, texts = self._options.score_bytes, []
        smallest_first = sorted(by_repository.values(), key=lambda d: sum(len(e.text) for e in d))
        for number, documents in enumerate(smallest_first):
            share = remaining // (len(by_repository) - number)
            for document in sample_documents(documents, seed=0, max_bytes=share):
                text = document.text.encode()[:share]  # the last document may exceed the share
                texts.append(text.decode(errors="ignore"))
                share -= len(text)
                remaining -= len(text)
        return texts

    def token_file(self, name: str, tokenizer: Tokenizer, split: str) -> TokenFile:
        """The ids of a split, encoded once for each tokenizer; ``name`` is the tokenizer's."""
        path = self.out / "tokens" / f"{name} {tokenizer.vocab_size}" / f"{split}.bin"
        if path.with_suffix(".idx").exists():
            return open_tokens(path)
        return write_tokens(self.texts(split), tokenizer, path)

    def train(
        self, run: Run, name: str, tokenizer: Tokenizer, recipe: Recipe
    ) -> tuple[GPT2, Result]:
        """Train ``run`` with the tokenizer called ``name``, and score it in bits per byte."""
        config, data = self._data(name, tokenizer, recipe)
        settings = recipe.training.model_copy(update={"seed": run.seed})
        folder = self.out / "runs" / run.file_name
        start = time.perf_counter()
        result = train(settings, config, data, folder, identity=run.file_name)
        seconds = time.perf_counter() - start
        model = GPT2(config)
        model.load_state_dict(state.load(result.checkpoint).model)
        model.to(choose_device(settings.device))
        shutil.rmtree(folder)
        score = bits_per_byte(
            TorchScorer(model),
            tokenizer,
            self.validation_texts(),
            max_bytes=self._options.score_bytes,
        )
        return model, {
            "num_tokens": result.num_tokens,
            "num_parameters": config.num_parameters,
            "seconds": seconds,
            "bytes_per_token": score.num_bytes / score.num_tokens,
            "bits_per_byte": score.value,
        }

    def _data(
        self, name: str, tokenizer: Tokenizer, recipe: Recipe
    ) -> tuple[GPT2Config, TrainingData]:
        """The shape of the model and its training data."""
        shape = recipe.model.model_dump(exclude={"size"})
        train, validation = (
            self.token_file(name, tokenizer, split) for split in ("train", "validation")
        )
        config = GPT2Config(vocab_size=tokenizer.vocab_size, **shape)
        return config, TrainingData(tokenizer, train, validation, self._owners())

    def _owners(self) -> NDArray[np.int64]:
        """Number of the repository of each document of the train split, as in a run folder."""
        path = self.out / "owners.json"
        if not path.exists():
            owners = RepositoryRecorder()
            for _ in owners.texts(iterate(self.folder / "corpus", "train", "files")):
                pass
            owners.write(path)
        return read_repository_numbers(path)


def print_table(results: Sequence[Result], baseline: str, extra: dict[str, str]) -> None:
    """Print a Markdown table with the mean and the range over the seeds.

    The column ``over`` compares with ``baseline``: the mean difference in percent, then the
    difference of each seed. Runs of one seed share the order of the data.
    ``extra``: further figures, key of a result → head of its column.
    """
    groups: dict[tuple[str, str, str, int], list[Result]] = {}
    for each in results:
        run = each["run"]
        key = (run["model"], run["budget"], run["variant"], run["vocab_size"])
        groups.setdefault(key, []).append(each)
    base = {
        (run["model"], run["budget"], run["seed"]): each["bits_per_byte"]
        for each in results
        if (run := each["run"])["variant"] == baseline
    }
    heads = ["model", "budget", "variant", "entries", "seeds", "tokens", "seconds", "bits per byte"]
    heads += ["range", f"over {baseline}", *extra.values()]
    print("| " + " | ".join(heads) + " |")
    print("|---|---|---|" + "---:|" * (len(heads) - 3))
    for key, group in sorted(groups.items()):
        values = [each["bits_per_byte"] for each in group]
        differences = [
            100 * (each["bits_per_byte"] / base[place] - 1)
            for each in group
            if (place := (key[0], key[1], each["run"]["seed"])) in base
        ]
        difference = statistics.mean(differences) if differences else math.nan
        figures = [
            f"{statistics.mean(each[name] for each in group):.3f}" if name in group[0] else ""
            for name in extra
        ]
        columns = [
            key[0], key[1], key[2], f"{key[3]:,}", str(len(group)),
            f"{statistics.mean(each['num_tokens'] for each in group):,.0f}",
            f"{statistics.mean(each['seconds'] for each in group):,.0f}",
            f"**{statistics.mean(values):.3f}**", f"{max(values) - min(values):.3f}",
            f"{difference:+.1f} % ({', '.join(f'{each:+.1f}' for each in differences)})", *figures,
        ]  # fmt: skip
        print("| " + " | ".join(columns) + " |")
