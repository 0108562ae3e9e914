"""Claim: a small model learns more from our tokenizer than from those that others train.

Takes the corpus of a run folder, learns each tokenizer on its train split, trains the same model
with each for the same time (as tokens, from rates that are measured first and kept: with --seeds 0
nothing else is done) or the same tokens and seed, and scores it on the validation split in
bits per byte; and, as an editor would ask, on the next line of code after a prompt that ends behind
the line's indentation, healed or not, and after one stripped of its white space. Cells stand one
a line in OUT/cells.jsonl and are not done again; the table at the end is made from all of them.

    codeling corpus recipes/demo.toml --set corpus.validation_share=0.12 --out runs/cuts
    python -m benchmarks.tokenizer.comparison runs/cuts --out /tmp/cuts --minutes 6 --seeds 3
    python -m benchmarks.tokenizer.comparison runs/cuts --out /tmp/cuts --steps 300 --equal 4096

A larger share for validation than a run's: more packages to be scored on, each of which counts
alike.

With --equal every cut gets that many entries; without, each has those of its recipe. Besides the
peers' cuts there is ``python`` and variants of it, each with one thing changed, and other ways to
learn the entries (``--pretokenizers explored`` takes all; ``pretokenizers.py`` describes them).
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from benchmarks.runs import Bench, add_options, print_table
from benchmarks.tokenizer.pretokenizers import FIRST, kinds, peers, tokenizer_of, with_dropout
from codeling.dataset.rng import Purpose, generator
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, minutes=6.0)
    parser.add_argument("--equal", type=int, nargs="+", help="entries for every cut")
    parser.add_argument(
        "--pretokenizers", nargs="*", choices=["explored", *kinds()], default=[FIRST, *peers()]
    )
    parser.add_argument("--lines", type=int, default=400, help="next lines that are scored")
    asked = parser.parse_args()
    if "explored" in asked.pretokenizers:
        asked.pretokenizers = [
            each for each in kinds() if each in asked.pretokenizers or each not in peers()
        ]
    return asked


def main() -> None:
    """Do the cells that are missing, then print the table."""
    asked = options()
    bench = Bench(asked)
    recipe = bench.recipe()
    assert isinstance(recipe.tokenizer.vocab_size, int)
    rows = []
    for name in asked.pretokenizers:
        usual = kinds()[name].entries or recipe.tokenizer.vocab_size
        rows += [(name, tokenizer_of(name, n, recipe, bench)) for n in asked.equal or [usual]]
    recipes = [recipe] * len(rows)
    if not (asked.tokens or asked.steps):
        tokens = bench.tokens_in(asked.minutes, rows)
        recipes = [bench.recipe(length=f"tokens = {count}") for count in tokens]
    for seed in range(asked.seeds):
        for (name, tokenizer), chosen in zip(rows, recipes, strict=True):
            cell = bench.cell(name, tokenizer, seed, chosen)
            if bench.is_done(cell):
                continue
            if share := kinds()[name].dropout:  # its own file of ids; all else without dropout
                bench.tokens(name, with_dropout(tokenizer, share), "train")
            model, result = bench.train(cell, name, tokenizer, chosen)
            lines = next_lines(model, tokenizer, bench.held_out(), asked.lines)
            bench.keep(cell, result | lines)
    print_table(
        bench.results(),
        FIRST,
        {
            "bytes_per_token": "bytes a token",
            "next_line_behind_indentation": "next line, indented",
            "next_line_healed": "healed",
            "next_line_stripped": "stripped",
        },
    )


def next_lines(
    model: GPT2, tokenizer: Tokenizer, documents: Sequence[str], count: int
) -> dict[str, float]:
    """Bits per byte of the code of lines: after a prompt that ends behind the line's indentation;
    after that prompt healed (its last tokens taken off, and the next ones held to their bytes);
    and after the prompt stripped, when the model has to write the white space too.
    """
    vocabulary = Vocabulary(tokenizer.token_bytes)
    nats = {"next_line_behind_indentation": 0.0, "next_line_healed": 0.0, "next_line_stripped": 0.0}
    num_bytes = 0
    for prompt, code in islice(_lines(documents), count):
        num_bytes += len(code.encode())
        ids, bare = tokenizer.encode(prompt), prompt.rstrip()
        healed = vocabulary.heal(ids)
        ways = (
            (ids, b"", code),
            (healed.ids, healed.pending, healed.pending.decode() + code),
            (tokenizer.encode(bare), b"", prompt[len(bare) :] + code),
        )
        for way, (before, pending, after) in zip(nats, ways, strict=True):
            nats[way] += _nats(model, tokenizer, vocabulary, before, pending, after)
    return {way: each / math.log(2) / num_bytes for way, each in nats.items()}


@torch.no_grad()
def _nats(
    model: GPT2,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    before: list[int],
    pending: bytes,
    after: str,
) -> float:
    """Of the tokens of ``after``. The first are held to the bytes of ``pending``; of the last every
    entry that begins with it counts, for in the file the line's end may be one with what follows.
    """
    target = tokenizer.encode(after)[: model.config.context_length // 2]
    ids = [tokenizer.end_of_text, *before, *target][-model.config.context_length - 1 :]
    inputs = torch.tensor([ids[:-1]], device=model.wte.weight.device)
    hidden = model.hidden(inputs)[0, -len(target) :]
    logits = torch.nn.functional.linear(hidden, model.wte.weight.to(hidden.dtype)).float().cpu()
    for row, token in zip(logits, target, strict=True):
        if not pending:
            break
        kept = torch.full_like(row, -torch.inf)
        allowed = torch.from_numpy(vocabulary.allowed(pending))
        kept[allowed] = row[allowed]
        row.copy_(kept)
        pending = pending[len(tokenizer.token_bytes[token]) :]
    scores = torch.log_softmax(logits, -1)
    picked = scores[:-1].gather(1, torch.tensor(target[:-1])[:, None])
    ends = torch.from_numpy(vocabulary.beginning_with(tokenizer.token_bytes[target[-1]]))
    return -float(picked.sum() + scores[-1][ends].logsumexp(0))


def _lines(documents: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Prompts that end behind an indentation, and the rest of the line with its end."""
    for number, text in enumerate(documents):
        starts = [0, *(at + 1 for at, sign in enumerate(text) if sign == "\n")]
        drawn = generator(Purpose.CHUNK_ORDER, 0, number, 0)
        for at in sorted(drawn.permutation(len(starts))[:40].tolist()):
            line = text[starts[at] :].split("\n", 1)[0] + "\n"
            code = line.lstrip(" \t")
            begin = starts[at] + len(line) - len(code)
            if begin > starts[at] + 1 and code.strip() and len(code) < 200:
                yield text[max(0, begin - 2_000) : begin], code


if __name__ == "__main__":
    main()
