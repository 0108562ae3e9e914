"""Key-word weights, as in the Hugging Face course, do not improve a data-science model.

Trains the same model on the data-science slice with and without ``training.key_words``: the words
of the Hugging Face course (chapter 7.6, ``keytoken_weighted_loss``) with its alpha, 1, and with 10.
Runs of one seed share the initial weights and the order of the data. The models are scored on
repositories outside the training split:

- bits per byte of the files, also separately for lines with and without a key word,
- the share of names at key words that greedy completion writes as in the file, from the 2,000
  characters before.

Results are appended to OUT/runs.jsonl; runs that have one are skipped.

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

from benchmarks.runs import Comparison, add_options, print_table
from codeling.corpus.document import Document, iterate
from codeling.dataset.rng import Purpose, generator
from codeling.generation.engine import Engine
from codeling.generation.scoring import windows
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import FILE_NAME, Tokenizer

BASELINE = "recipe"
WORDS = ("plt", "pd", "sk", "fit", "predict")
VARIANTS: dict[str, list[str]] = {BASELINE: []} | {
    f"key words, alpha {alpha}": [
        f"training.key_words={json.dumps(WORDS)}",
        f"training.key_word_alpha={alpha}",
    ]
    for alpha in (1, 10)
}
"""Name → changes of the recipe."""
KEY_WORD = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(WORDS)})(?![A-Za-z])")
KEY_NAME = re.compile(r"(?:(?<![A-Za-z0-9_.])(?:pd|plt)\.|\.(?=(?:fit|predict)\b))([A-Za-z]\w*)")
PROMPT_CHARACTERS, MAX_NAMES, BATCH = 2_000, 60, 32
"""Length of a prompt; names per repository; completions at a time."""


def main() -> None:
    """Train the runs that are missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_options(parser, minutes=6.0)
    parser.add_argument(
        "--variants", nargs="*", choices=list(VARIANTS), default=list(VARIANTS),
        help="default: all",
    )  # fmt: skip
    options = parser.parse_args()
    comparison = Comparison(options)
    tokenizer = Tokenizer.load(options.folder / "tokenizer" / FILE_NAME)
    changes = {name: VARIANTS[name] for name in options.variants}
    for _, run, recipe in comparison.missing(changes, tokenizer):
        model, result = comparison.train(run, "run", tokenizer, recipe)
        result |= bits_per_byte_by_line(model, tokenizer, comparison.validation_texts())
        unseen = iterate(options.folder / "corpus", "validation", "files")
        result |= completed_names(Engine.from_model(model, tokenizer), unseen)
        comparison.save(run, result)
    print_table(
        comparison.results(),
        BASELINE,
        {
            "key_lines": "lines with a key word",
            "other_lines": "other lines",
            "names_right": "names as in the file",
        },
    )


@torch.no_grad()
def bits_per_byte_by_line(
    model: GPT2, tokenizer: Tokenizer, documents: Sequence[str]
) -> dict[str, float]:
    """Bits per byte of lines with and without a key word.

    A token belongs to the line of its last byte.
    """
    nats, sizes = np.zeros(2), np.zeros(2)
    for text in documents:
        ids = tokenizer.encode(text)
        sequence = [tokenizer.end_of_text, *ids]
        lengths = np.array([len(tokenizer.token_bytes[each]) for each in ids], dtype=np.int64)
        lines = text.split("\n")
        ends = np.cumsum([len(line.encode()) + 1 for line in lines])
        has_key_word = np.array([bool(KEY_WORD.search(line)) for line in lines], dtype=np.int64)
        group = has_key_word[np.searchsorted(ends, np.cumsum(lengths) - 1, side="right")]
        for begin, end, first in windows(len(ids), model.config.context_length):
            inputs, targets = (torch.tensor([each[begin:end]]) for each in (sequence, ids))
            scored = torch.arange(begin, end)[None] >= first
            found = model.token_nats(inputs, targets, wanted=scored)[0].double().numpy()
            nats += np.bincount(group[begin:end], found, 2)
        sizes += np.bincount(group, lengths, 2)
    other, key = nats / math.log(2) / sizes
    return {"key_lines": float(key), "other_lines": float(other)}


def completed_names(engine: Engine, documents: Iterable[Document]) -> dict[str, float]:
    """Share of names that greedy completion writes as in the file.

    The names are those after ``pd.`` and ``plt.``, and ``fit`` and ``predict`` after a dot; at most
    MAX_NAMES of each repository, chosen at random.
    """
    by_repository: dict[str, list[tuple[str, str]]] = {}
    for document in documents:
        for found in KEY_NAME.finditer(document.text):
            at = found.start(1)
            prompt = document.text[max(0, at - PROMPT_CHARACTERS) : at]
            by_repository.setdefault(document.repository, []).append((prompt, found[1]))
    chosen: list[tuple[str, str]] = []
    for number, places in enumerate(by_repository.values()):
        order = generator(Purpose.CHUNK_ORDER, 0, number, 0).permutation(len(places))
        chosen += [places[each] for each in order[:MAX_NAMES]]
    answers = engine.complete_batch(
        [prompt for prompt, _ in chosen], batch_size=BATCH, temperature=0.0, max_new_tokens=12
    )
    right = [
        re.match(r"\w*", answer.text)[0] == name  # type: ignore[index]
        for (answer,), (_, name) in zip(answers, chosen, strict=True)
    ]
    return {"names_right": float(np.mean(right)), "names_asked": len(right)}


if __name__ == "__main__":
    main()
