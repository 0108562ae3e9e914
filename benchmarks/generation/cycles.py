"""Real code repeats itself often, but rarely the same tokens back to back.

For the validation split of a run with a model: the share of tokens of real code that each rule
against repetition would have forbidden, within the first 1,024 tokens of a document; and the share
of generated function bodies that parse, with and without ``max_repeats``.

    python -m benchmarks.generation.cycles runs/demo
    python -m benchmarks.generation.cycles runs/demo --completions 400 --temperatures 0 0.2 0.5
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

MAX_TOKENS = 1024
NGRAMS = (3, 5, 9, 17, 33)
MAX_REPEATS = (1, 2, 3, 4)


def count_forbidden(documents: Iterable[list[int]]) -> tuple[int, Counter[str]]:
    """Number of tokens, and of those that each rule would have forbidden."""
    num_tokens, found = 0, Counter[str]()
    for ids in documents:
        num_tokens += len(ids)
        for size in NGRAMS:
            grams = [tuple(ids[at : at + size]) for at in range(len(ids) - size + 1)]
            found[f"no {size} tokens twice"] += len(grams) - len(set(grams))
        for times in MAX_REPEATS:
            cycles = Cycles([], times)
            for each in ids:
                found[f"max_repeats {times}"] += each in cycles.banned()
                cycles.add(each)
    return num_tokens, found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, help="run folder with a corpus and a model"
    )
    parser.add_argument("--documents", type=int, default=1000, help="documents to count in")
    parser.add_argument("--completions", type=int, default=200, help="bodies to generate")
    parser.add_argument(
        "--temperatures", type=float, nargs="*", default=[0.2], help="of the bodies"
    )
    arguments = parser.parse_args()
    engine = Engine.load(arguments.run)

    files = iterate(arguments.run / "corpus", "validation", "files")
    documents = (engine.tokenizer.encode(each.text)[:MAX_TOKENS] for each in files)
    num_tokens, found = count_forbidden(islice(documents, arguments.documents))
    print(f"share of {num_tokens:,} tokens of real code that a rule forbids")
    for rule, count in found.items():
        print(f"  {rule:20} {100 * count / num_tokens:7.3f} %")

    usual = parse_recipe("", []).evaluation
    functions = list(iterate(arguments.run / "corpus", "validation", "functions"))
    for temperature in arguments.temperatures:
        for times in (0, usual.max_repeats):
            options = usual.options | {
                "temperature": temperature,
                "prose_temperature": usual.prose_temperature if temperature else None,
                "max_repeats": times,
            }
            rate = parse_rate(engine, functions, completions=arguments.completions, **options)
            reasons = Counter(sample.finish_reason for sample in rate.samples)
            low, high = rate.interval(usual.seed) or (rate.value, rate.value)
            print(
                f"temperature {temperature}, max_repeats {times}: {rate.value:.1%} parse "
                f"({low:.1%} to {high:.1%}), {rate.count('empty')} are empty, "
                f"{reasons['length']} reached the maximum length"
            )


if __name__ == "__main__":
    main()
