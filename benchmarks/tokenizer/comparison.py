"""A small model learns more with our tokenizer than with those that other projects train.

Learns each tokenizer on the train split of a run folder, trains the same model with each, and
scores it on the validation split. With ``--minutes`` each variant gets the tokens that it can read
in that time, by rates that are measured first and cached (``--seeds 0`` measures the rates alone).
The scores are

- bits per byte of the files,
- bits per byte of the next line of code, as in an editor: after a prompt that ends with the
  indentation of the line, the same with token healing, and after a prompt without trailing white
  space.

Results are appended to OUT/runs.jsonl; runs that have one are skipped. With ``--equal`` every
tokenizer gets the same number of entries; otherwise each has the number of its own recipe.
``--pretokenizers explored`` takes ours and all variants that ``pretokenizers.py`` describes.

    codeling corpus recipes/demo.toml --set corpus.validation_share=0.12 --out runs/demo
    python -m benchmarks.tokenizer.comparison runs/demo --out /tmp/demo --minutes 6 --seeds 3
    python -m benchmarks.tokenizer.comparison runs/demo --out /tmp/demo --steps 300 --equal 4096

The validation share is larger than usual: more packages are scored, each with equal weight.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from benchmarks.runs import Comparison, add_options, print_table
from benchmarks.tokenizer.pretokenizers import BASELINE, load_or_train, peers, specs, with_dropout
from codeling.dataset.rng import Purpose, generator
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, minutes=6.0)
    parser.add_argument("--equal", type=int, nargs="+", help="entries of every tokenizer")
    parser.add_argument(
        "--pretokenizers",
        nargs="*",
        choices=["explored", *specs()],
        metavar="NAME",
        default=[BASELINE, *peers()],
        help=f"explored, or some of {'; '.join(specs())}",
    )
    parser.add_argument(
        "--lines",
        type=int,
        default=400,
        help="number of next lines to score (default: %(default)s)",
    )
    options = parser.parse_args()
    if "explored" in options.pretokenizers:
        options.pretokenizers = [
            each for each in specs() if each in options.pretokenizers or each not in peers()
        ]
    return options


def main() -> None:
    """Train the runs that are missing, then print the table."""
    options = parse_options()
    comparison = Comparison(options)
    recipe = comparison.recipe()
    assert isinstance(recipe.tokenizer.vocab_size, int)
    variants = []
    for name in options.pretokenizers:
        own_size = specs()[name].entries or recipe.tokenizer.vocab_size
        variants += [
            (name, load_or_train(name, n, recipe, comparison)) for n in options.equal or [own_size]
        ]
    recipes = [recipe] * len(variants)
    if not (options.tokens or options.steps):
        tokens = comparison.tokens_within(options.minutes, variants)
        recipes = [comparison.recipe(length=f"tokens = {count}") for count in tokens]
    for seed in range(options.seeds):
        for (name, tokenizer), recipe in zip(variants, recipes, strict=True):
            run = comparison.run(name, tokenizer, seed, recipe)
            if comparison.is_done(run):
                continue
            if share := specs()[name].dropout:  # only for the ids of the train split
                comparison.token_file(name, with_dropout(tokenizer, share), "train")
            model, result = comparison.train(run, name, tokenizer, recipe)
            lines = next_lines(model, tokenizer, comparison.validation_texts(), options.lines)
            comparison.save(run, result | lines)
    print_table(
        comparison.results(),
        BASELINE,
        {
            "bytes_per_token": "bytes per token",
            "next_line_after_indentation": "next line, indented",
            "next_line_healed": "healed",
            "next_line_stripped": "stripped",
        },
    )


def next_lines(
    model: GPT2, tokenizer: Tokenizer, documents: Sequence[str], count: int
) -> dict[str, float]:
    """Bits per byte of the code of up to ``count`` lines, after three kinds of prompt.

    - The prompt ends with the indentation of the line.
    - The same with token healing: the last tokens are removed, and the next ones are constrained
      to their bytes.
    - The prompt without trailing white space, which the model has to write too.
    """
    vocabulary = Vocabulary(tokenizer.token_bytes)
    nats = {"next_line_after_indentation": 0.0, "next_line_healed": 0.0, "next_line_stripped": 0.0}
    num_bytes = 0
    for prompt, code in islice(_lines(documents), count):
        num_bytes += len(code.encode())
        ids, stripped = tokenizer.encode(prompt), prompt.rstrip()
        healed = vocabulary.heal(ids)
        prompts = (
            (ids, b"", code),
            (healed.ids, healed.pending, healed.pending.decode() + code),
            (tokenizer.encode(stripped), b"", prompt[len(stripped) :] + code),
        )
        for name, (before, pending, after) in zip(nats, prompts, strict=True):
            nats[name] += _nats(model, tokenizer, vocabulary, before, pending, after)
    return {name: each / math.log(2) / num_bytes for name, each in nats.items()}


@torch.no_grad()
def _nats(
    model: GPT2,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    before: list[int],
    pending: bytes,
    after: str,
) -> float:
    """Nats of the tokens of ``after``.

    The first tokens are constrained to the bytes of ``pending``. For the last token every entry
    counts that begins with its bytes: in the file the newline may share a token with the next line.
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
    """Prompts that end with an indentation, and the rest of the line with its newline."""
    for number, text in enumerate(documents):
        starts = [0, *(at + 1 for at, char in enumerate(text) if char == "\n")]
        order = generator(Purpose.CHUNK_ORDER, 0, number, 0)
        for at in sorted(order.permutation(len(starts))[:40].tolist()):
            line = text[starts[at] :].split("\n", 1)[0] + "\n"
            code = line.lstrip(" \t")
            begin = starts[at] + len(line) - len(code)
            if begin > starts[at] + 1 and code.strip() and len(code) < 200:
                yield text[max(0, begin - 2_000) : begin], code


if __name__ == "__main__":
    main()
