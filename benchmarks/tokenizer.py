"""Claim: a small model learns more from our tokenizer than from those that others train.

Takes the corpus of a run folder, learns each tokenizer on its train split, trains the same model
with each for the same time (or the same tokens) and seed, and scores it on the validation split in
bits per byte; and, as an editor would ask, on the next line of code after a prompt that ends behind
the line's indentation, and after one that was stripped of its white space. Cells stand one a line
in OUT/cells.jsonl and are not done again; the table at the end is made from all of them.

    codeling corpus recipes/demo.toml --out runs/demo
    python benchmarks/tokenizer.py runs/demo --out /tmp/cuts --minutes 6 --seeds 3
    python benchmarks/tokenizer.py runs/demo --out /tmp/cuts --tokens 3000000 --equal 4096

With --equal every cut gets that many entries; without, each has those of its recipe.
"""

import argparse
import hashlib
import json
import math
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import pre_tokenizers

from codeling.corpus.document import iterate
from codeling.dataset.draws import Purpose, generator
from codeling.dataset.tokens import TokenFile, open_tokens, write_tokens
from codeling.errors import TokenizerError
from codeling.evaluation.draw import draw
from codeling.evaluation.intrinsic import bits_per_byte
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.recipe import Recipe, parse_recipe
from codeling.tokenizer.measure import TIKTOKEN_CUTS
from codeling.tokenizer.pretokenizer import pre_tokenizer_of, python_pre_tokenizer
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train as learn
from codeling.training import state
from codeling.training.trainer import Inputs, train

OURS = "ours"
SMALLER = (40_000, 32_768, 24_576, 16_384, 12_288, 8_192, 4_096, 2_048, 1_024, 512)
"""Tried in turn where a corpus gives fewer entries than a recipe asks for."""


def cuts() -> dict[str, tuple[pre_tokenizers.PreTokenizer, int | None]]:
    """Name → (the cut, the entries of its recipe; None for our rule)."""
    single_digits = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return {
        OURS: (python_pre_tokenizer(), None),
        "CodeParrot": (pre_tokenizer_of(TIKTOKEN_CUTS["gpt2"]), 32_768),
        "course": (pre_tokenizer_of(TIKTOKEN_CUTS["gpt2"]), 50_000),
        "StarCoder": (single_digits, 49_152),
        "cl100k's cut": (pre_tokenizer_of(TIKTOKEN_CUTS["cl100k_base"]), 32_768),
    }


@dataclass(frozen=True)
class Cell:
    """One training."""

    cut: str
    vocab_size: int
    seed: int
    model: str
    budget: str
    recipe: str
    """Of the settings of model, training and tokenizer, the beginning of their SHA-256."""

    @property
    def key(self) -> str:
        """As a file's name."""
        name = f"{self.cut}-{self.vocab_size}-{self.seed}-{self.model}-{self.budget}-{self.recipe}"
        return "".join(c if c.isalnum() else "-" for c in name)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder with a corpus")
    parser.add_argument("--out", type=Path, required=True, help="where cells and caches are kept")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=6.0, help="of each training")
    budget.add_argument("--tokens", type=int, help="of each training, instead of minutes")
    budget.add_argument("--steps", type=int, help="of each training, instead of minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", default="nano", help="model.size")
    parser.add_argument("--set", action="append", default=[], help="as codeling run takes it")
    parser.add_argument("--equal", type=int, help="entries for every cut")
    parser.add_argument("--cuts", nargs="*", choices=list(cuts()), default=list(cuts()))
    parser.add_argument("--score-bytes", type=int, default=400_000, help="of validation text")
    parser.add_argument("--lines", type=int, default=400, help="next lines that are scored")
    return parser.parse_args()


def main() -> None:
    """Do the cells that are missing, then print the table."""
    asked = options()
    length = f"minutes = {asked.minutes}"
    if asked.tokens or asked.steps:
        length = f"tokens = {asked.tokens}" if asked.tokens else f"steps = {asked.steps}"
    text = f'[tokenizer]\nvocab_size = "auto"\n[model]\nsize = "{asked.size}"\n[training]\n{length}'
    recipe = parse_recipe(text, asked.set).resolved()
    asked.out.mkdir(parents=True, exist_ok=True)
    done = {json.dumps(each["cell"]): each for each in read_cells(asked.out)}
    for seed in range(asked.seeds):
        for name in asked.cuts:
            assert isinstance(recipe.tokenizer.vocab_size, int)
            wanted = asked.equal or cuts()[name][1] or recipe.tokenizer.vocab_size
            tokenizer = tokenizer_of(name, wanted, recipe, asked)
            budget = length.replace(" ", "")
            cell = Cell(name, tokenizer.vocab_size, seed, asked.size, budget, digest(recipe))
            if json.dumps(vars(cell)) in done:
                continue
            result = {**trained(cell, tokenizer, recipe, asked), "cell": vars(cell)}
            with (asked.out / "cells.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)
    print_table(read_cells(asked.out))


def digest(recipe: Recipe) -> str:
    """What tells apart trainings with other settings."""
    chosen = recipe.model_dump(include={"model", "training", "tokenizer"}, mode="json")
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:8]


def read_cells(out: Path) -> list[dict[str, Any]]:
    """The finished cells; a line that a kill has torn is none."""
    path = out / "cells.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}}")]


def texts(asked: argparse.Namespace, split: str) -> Iterator[str]:
    """The files of a split."""
    return (document.text for document in iterate(asked.run / "corpus", split, "files"))


def tokenizer_of(name: str, wanted: int, recipe: Recipe, asked: argparse.Namespace) -> Tokenizer:
    """Learned once; where the corpus gives fewer entries, the largest of a few smaller sizes."""
    pre_tokenizer, _ = cuts()[name]
    for size in (wanted, *(each for each in SMALLER if each < wanted)):
        path = asked.out / "tokenizers" / f"{name} {size}" / "tokenizer.json"
        if path.exists():
            return Tokenizer.load(path)
        settings = recipe.tokenizer.model_copy(update={"vocab_size": size})
        report = json.loads((asked.run / "corpus" / "report.json").read_bytes())
        total = report["splits"]["train"]["bytes"]
        try:
            made = learn(
                texts(asked, "train"), settings, total_bytes=total, pre_tokenizer=pre_tokenizer
            )
        except TokenizerError as error:
            print(f"{name}: {error}")
            continue
        made.save(path)
        return made
    raise SystemExit(f"{name}: the corpus is too small for any vocabulary")


def tokens_of(cell: Cell, tokenizer: Tokenizer, asked: argparse.Namespace, split: str) -> TokenFile:
    """A split as ids, made once for each tokenizer."""
    path = asked.out / "tokens" / f"{cell.cut} {cell.vocab_size}" / f"{split}.bin"
    if path.with_suffix(".idx").exists():
        return open_tokens(path)
    return write_tokens(texts(asked, split), tokenizer, path)


def trained(
    cell: Cell, tokenizer: Tokenizer, recipe: Recipe, asked: argparse.Namespace
) -> dict[str, Any]:
    """Train and score one cell."""
    shape = recipe.model.model_dump(exclude={"size"})
    config = GPT2Config(vocab_size=tokenizer.vocab_size, **shape)
    inputs = Inputs(
        tokenizer,
        tokens_of(cell, tokenizer, asked, "train"),
        tokens_of(cell, tokenizer, asked, "validation"),
    )
    settings = recipe.training.model_copy(update={"seed": cell.seed})
    folder = asked.out / "cells" / cell.key
    began = time.perf_counter()
    result = train(settings, config, inputs, folder, identity=cell.key)
    seconds = time.perf_counter() - began
    model = GPT2(config)
    model.load_state_dict(dict(state.load(result.checkpoint).model))
    shutil.rmtree(folder)
    documents = list(iterate(asked.run / "corpus", "validation", "files"))
    drawn = [each.text for each in draw(documents, seed=0, max_bytes=asked.score_bytes)]
    scored = bits_per_byte(model, tokenizer, drawn, max_bytes=asked.score_bytes)
    behind, stripped = next_lines(model, tokenizer, drawn, asked.lines)
    return {
        "num_tokens": result.num_tokens,
        "num_parameters": config.num_parameters,
        "seconds": seconds,
        "bytes_per_token": scored.num_bytes / scored.num_tokens,
        "bits_per_byte": scored.value,
        "next_line_behind_indentation": behind,
        "next_line_stripped": stripped,
    }


@torch.no_grad()
def next_lines(
    model: GPT2, tokenizer: Tokenizer, documents: Sequence[str], count: int
) -> tuple[float, float]:
    """Bits per byte of the code of lines: after a prompt that ends behind the line's indentation,
    and after that prompt stripped, when the model has to write the white space too.
    """
    nats, num_bytes = [0.0, 0.0], 0
    for prompt, code in islice(_lines(documents), count):
        bare = prompt.rstrip()
        num_bytes += len(code.encode())
        for way, (before, after) in enumerate(((prompt, code), (bare, prompt[len(bare) :] + code))):
            target = tokenizer.encode(after)[: model.config.context_length // 2]
            context = [tokenizer.end_of_text, *tokenizer.encode(before)]
            ids = [*context, *target][-model.config.context_length - 1 :]
            logits = model(torch.tensor([ids[:-1]]))[0, -len(target) :].float()
            picked = torch.log_softmax(logits, -1).gather(1, torch.tensor(target)[:, None])
            nats[way] -= float(picked.sum())
    behind, stripped = (each / math.log(2) / num_bytes for each in nats)
    return behind, stripped


def _lines(documents: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Prompts that end behind an indentation, and the rest of the line with its end."""
    for number, text in enumerate(documents):
        starts = [0, *(at + 1 for at, sign in enumerate(text) if sign == "\n")]
        drawn = generator(Purpose.SECTION_ORDER, 0, number, 0)
        for at in sorted(drawn.permutation(len(starts))[:40].tolist()):
            line = text[starts[at] :].split("\n", 1)[0] + "\n"
            code = line.lstrip(" \t")
            begin = starts[at] + len(line) - len(code)
            if begin > starts[at] + 1 and code.strip() and len(code) < 200:
                yield text[max(0, begin - 2_000) : begin], code


def print_table(cells: Sequence[dict[str, Any]]) -> None:
    """Means over the seeds, how far they spread, and how much more than ours."""
    groups: dict[tuple[str, str, str, int], list[dict[str, Any]]] = {}
    for each in cells:
        cell = each["cell"]
        key = (cell["model"], cell["budget"], cell["cut"], cell["vocab_size"])
        groups.setdefault(key, []).append(each)
    ours = {
        key[:2]: statistics.mean(each["bits_per_byte"] for each in group)
        for key, group in groups.items()
        if key[2] == OURS
    }
    print("| model | budget | cut | entries | seeds | tokens | bytes a token | bits per byte "
          "| spread | over ours | next line, indented | stripped |")  # fmt: skip
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for key, group in sorted(groups.items()):
        values = [each["bits_per_byte"] for each in group]
        mean = statistics.mean(values)
        spread = np.ptp(values) if len(values) > 1 else math.nan
        over = 100 * (mean / ours[key[:2]] - 1) if key[:2] in ours else math.nan
        figures = [name for name in group[0] if name != "cell"]
        means = {name: statistics.mean(each[name] for each in group) for name in figures}
        print(
            f"| {key[0]} | {key[1]} | {key[2]} | {key[3]:,} | {len(group)} "
            f"| {means['num_tokens']:,.0f} | {means['bytes_per_token']:.2f} | **{mean:.3f}** "
            f"| {spread:.3f} | {over:+.1f} % | {means['next_line_behind_indentation']:.3f} "
            f"| {means['next_line_stripped']:.3f} |"
        )


if __name__ == "__main__":
    main()
