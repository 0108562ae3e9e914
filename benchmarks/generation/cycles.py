"""Claim: code says the same again all the time, but hardly ever directly behind itself.

On the validation split of a run with a model: of how many tokens of real code each rule against
repetition would have forbidden the right one, within a document's first 1,024; and how many
function bodies the model completes so that they parse, with ``max_repeats`` and without.

    python -m benchmarks.generation.cycles runs/demo
    python -m benchmarks.generation.cycles runs/demo --completions 400 --temperatures 0 0.2 0.35 0.5
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from codeling.corpus.document import iterate
from codeling.evaluation.parse_rate import parse_rate
from codeling.generation.cycles import Cycles
from codeling.generation.engine import Engine
from codeling.recipe import parse_recipe

TOKENS = 1024
NGRAMS = (3, 5, 9, 17, 33)
MAX_REPEATS = (1, 2, 3, 4)


def forbidden(documents: Iterable[list[int]]) -> tuple[int, Counter[str]]:
    """Tokens read, and of each rule how many of them it would have forbidden."""
    num_tokens, found = 0, Counter[str]()
    for ids in documents:
        num_tokens += len(ids)
        for size in NGRAMS:
            grams = [tuple(ids[at : at + size]) for at in range(len(ids) - size + 1)]
            found[f"no {size} tokens twice"] += len(grams) - len(set(grams))
        for times in MAX_REPEATS:
            cycles = Cycles([], times)
            for each in ids:
                found[f"max_repeats {times}"] += each in cycles.going_on()
                cycles.add(each)
    return num_tokens, found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder with a corpus and a model")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--completions", type=int, default=200)
    parser.add_argument("--temperatures", type=float, nargs="*", default=[0.2])
    asked = parser.parse_args()
    engine = Engine.load(asked.run)

    files = iterate(asked.run / "corpus", "validation", "files")
    documents = (engine.tokenizer.encode(each.text)[:TOKENS] for each in files)
    num_tokens, found = forbidden(islice(documents, asked.documents))
    print(f"of {num_tokens:,} tokens of real code the rule forbids")
    for rule, count in found.items():
        print(f"  {rule:20} {100 * count / num_tokens:7.3f} %")

    usual = parse_recipe("", []).evaluation
    functions = list(iterate(asked.run / "corpus", "validation", "functions"))
    for temperature in asked.temperatures:
        for times in (0, usual.max_repeats):
            options = usual.options | {
                "temperature": temperature,
                "prose_temperature": usual.prose_temperature if temperature else None,
                "max_repeats": times,
            }
            rate = parse_rate(engine, functions, completions=asked.completions, **options)
            reasons = Counter(sample.finish_reason for sample in rate.samples)
            low, high = rate.interval(usual.seed) or (rate.value, rate.value)
            print(
                f"temperature {temperature}, max_repeats {times}: {rate.value:.1%} parse "
                f"({low:.1%} to {high:.1%}), {rate.count('empty')} are blank, "
                f"{reasons['length']} ran out of tokens"
            )


if __name__ == "__main__":
    main()
