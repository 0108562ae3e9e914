"""Claim: rows that hold data science's key words, counted for more, make its completions better.

Trains the same model on the data-science slice with and without ``training.key_words``, the words
of the Hugging Face course (chapter 7.6, ``keytoken_weighted_loss``) with its alpha, 1, or a milder
one, three seeds each, which share weights and order. Scored on repositories that training never
saw: their files in bits per byte, of which the lines with a key word and those without also by
themselves, each after the file before it; and the names that an editor would be asked for at key
words, greedily, from the 2,000 characters before. Cells stand one a line in OUT/cells.jsonl and are
not done again.

    codeling tokenizer recipes/data-science.toml --out runs/slice --set model.size=nano \\
        --set corpus.validation_share=0.12 \\
        --set 'corpus.sources=[{kind="codeparrot", paths=["data/codeparrot/*.json.gz"]}]'
    python -m benchmarks.training.key_words runs/slice --out /tmp/key-words --tokens 600000
"""

import argparse
import json
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from benchmarks.runs import Bench, add_options, print_table
from codeling.corpus.document import Document, iterate
from codeling.dataset.rng import Purpose, generator
from codeling.evaluation.intrinsic import windows
from codeling.generation.engine import Engine
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import FILE_NAME, Tokenizer

AS_IS = "recipe"
WORDS = ("plt", "pd", "sk", "fit", "predict")
ROWS: dict[str, list[str]] = {AS_IS: []} | {
    f"key words, alpha {alpha}": [
        f"training.key_words={json.dumps(WORDS)}",
        f"training.key_word_alpha={alpha}",
    ]
    for alpha in (1, 10)
}
"""Name → what is set."""
HOLDS_ONE = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(WORDS)})(?![A-Za-z])")
ASKED = re.compile(r"(?:(?<![A-Za-z0-9_.])(?:pd|plt)\.|\.(?=(?:fit|predict)\b))([A-Za-z]\w*)")
PROMPT, PLACES, BATCH = 2_000, 60, 32


def main() -> None:
    """Do the cells that are missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, minutes=6.0)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    asked = parser.parse_args()
    bench = Bench(asked)
    tokenizer = Tokenizer.load(asked.run / "tokenizer" / FILE_NAME)
    for _, cell, recipe in bench.missing({name: ROWS[name] for name in asked.rows}, tokenizer):
        model, result = bench.train(cell, "run", tokenizer, recipe)
        result |= by_line(model, tokenizer, bench.held_out())
        unseen = iterate(asked.run / "corpus", "validation", "files")
        result |= names(Engine.from_model(model, tokenizer), unseen)
        bench.keep(cell, result)
    print_table(
        bench.results(),
        AS_IS,
        {
            "key_lines": "lines with a key word",
            "other_lines": "without",
            "names_right": "names right",
        },
    )


@torch.no_grad()
def by_line(model: GPT2, tokenizer: Tokenizer, documents: Sequence[str]) -> dict[str, float]:
    """Bits per byte of lines with a key word, and of those without; a token belongs to the line
    that its last byte stands on.
    """
    nats, sizes = np.zeros(2), np.zeros(2)
    for text in documents:
        ids = tokenizer.encode(text)
        sequence = [tokenizer.end_of_text, *ids]
        lengths = np.array([len(tokenizer.token_bytes[each]) for each in ids], dtype=np.int64)
        lines = text.split("\n")
        ends = np.cumsum([len(line.encode()) + 1 for line in lines])
        holds = np.array([bool(HOLDS_ONE.search(line)) for line in lines], dtype=np.int64)
        group = holds[np.searchsorted(ends, np.cumsum(lengths) - 1, side="right")]
        for begin, end, first in windows(len(ids), model.config.context_length):
            inputs, targets = (torch.tensor([each[begin:end]]) for each in (sequence, ids))
            scored = torch.arange(begin, end)[None] >= first
            found = model.token_nats(inputs, targets, wanted=scored)[0].double().numpy()
            nats += np.bincount(group[begin:end], found, 2)
        sizes += np.bincount(group, lengths, 2)
    other, key = nats / math.log(2) / sizes
    return {"key_lines": float(key), "other_lines": float(other)}


def names(engine: Engine, documents: Iterable[Document]) -> dict[str, float]:
    """How many of the names that an editor would be asked for here are written as they stood:
    what follows ``pd.`` and ``plt.``, and ``fit`` and ``predict`` behind a dot. Of each repository
    up to PLACES are drawn.
    """
    of: dict[str, list[tuple[str, str]]] = {}
    for document in documents:
        for found in ASKED.finditer(document.text):
            at = found.start(1)
            prompt = document.text[max(0, at - PROMPT) : at]
            of.setdefault(document.repository, []).append((prompt, found[1]))
    asked: list[tuple[str, str]] = []
    for number, places in enumerate(of.values()):
        drawn = generator(Purpose.CHUNK_ORDER, 0, number, 0).permutation(len(places))
        asked += [places[each] for each in drawn[:PLACES]]
    answers = engine.complete_batch(
        [prompt for prompt, _ in asked], batch_size=BATCH, temperature=0.0, max_new_tokens=12
    )
    right = [
        re.match(r"\w*", answer.text)[0] == name  # type: ignore[index]
        for (answer,), (_, name) in zip(answers, asked, strict=True)
    ]
    return {"names_right": float(np.mean(right)), "names_asked": len(right)}


if __name__ == "__main__":
    main()
