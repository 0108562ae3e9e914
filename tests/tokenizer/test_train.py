import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from codeling.errors import CorpusError
from codeling.progress import SILENT
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.pretokenizer import (
    byte_decoder,
    llama_cpp_name,
    pre_tokenizer_named,
)
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer
from codeling.tokenizer.train import train

SCRIPT = """
import random
import sys
from pathlib import Path
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.train import train

texts = Path(sys.argv[1]).read_text(encoding="utf-8").split("\\f")
random.Random(int(sys.argv[3])).shuffle(texts)
train(texts, TokenizerRecipe(vocab_size=700)).save(Path(sys.argv[2]))
"""


def test_the_file_does_not_depend_on_order_or_number_of_threads(
    python_files: list[str], tmp_path: Path
) -> None:
    texts = tmp_path / "texts"
    texts.write_text("\f".join(text.replace("\f", "") for text in python_files), encoding="utf-8")
    made = []
    for threads, hash_seed in (("1", "1"), ("2", "2")):
        path = tmp_path / f"{threads}.json"
        settings = {
            "RAYON_NUM_THREADS": threads,
            "PYTHONHASHSEED": hash_seed,
            "TOKENIZERS_PARALLELISM": "true",
        }
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(texts), str(path), hash_seed],
            env={**os.environ, **settings},
            check=True,
            timeout=60,
        )
        made.append(path.read_bytes())
    assert made[0] == made[1]


def test_special_tokens_come_first_then_all_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 512
    assert [tokenizer.special_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    assert set(tokenizer.token_bytes[5:261]) == {bytes([b]) for b in range(256)}
    assert all(len(entry) > 1 for entry in tokenizer.token_bytes[261:])
    assert len(set(tokenizer.token_bytes[5:])) == 507


def test_merges_are_those_of_plain_byte_pair_encoding() -> None:
    counted = {"aab": 50, "aabc": 31, "bda": 17, "xab": 11, "xyz": 23, "xy": 7}
    words = [word for word, count in counted.items() for _ in range(count)]
    random.Random(0).shuffle(words)
    text = "\n".join(words)
    learned = train([text], TokenizerRecipe(vocab_size=266)).token_bytes[261:]

    pieces = [list(word) for word in words]
    expected: list[str] = []
    while len(expected) < 5:
        counts: dict[tuple[str, str], int] = {}
        for piece in pieces:
            for pair in pairwise(piece):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts.values())
        ties = [pair for pair, count in counts.items() if count == best]
        assert len(ties) == 1, "the example must leave no choice"
        (first, second) = ties[0]
        expected.append(first + second)
        for piece in pieces:
            at = 0
            while at < len(piece) - 1:
                if (piece[at], piece[at + 1]) == (first, second):
                    piece[at : at + 2] = [first + second]
                at += 1
    assert [entry.decode() for entry in learned] == expected


def test_the_text_of_special_tokens_is_never_learned_as_one() -> None:
    text = "".join(f"x = '{token}'\n" for token in SPECIAL_TOKENS) * 200
    learned = train([text], TokenizerRecipe(vocab_size=290, max_document_bytes=1_000_000))
    for token in SPECIAL_TOKENS:
        ids = learned.encode(token)
        assert not learned.special_ids & set(ids)
        assert learned.decode(ids) == token


def test_only_the_beginning_of_a_long_document_counts() -> None:
    recipe = TokenizerRecipe(vocab_size=263, max_document_bytes=9)
    long = "abcabcabc" + "xyz" * 1000
    assert train([long], recipe).to_json() == train(["abcabcabc"], recipe).to_json()
    # A character across the limit does not count.
    cut = train(["abcabcab" + "é" * 100], recipe)
    assert cut.to_json() == train(["abcabcab"], recipe).to_json()


def test_text_beyond_the_limit_does_not_count() -> None:
    recipe = TokenizerRecipe(vocab_size=263, max_training_bytes=18)
    some, more = ["abcabc"] * 3, ["xyxyxyxyxyxyxyxy"] * 50
    assert train(some + more, recipe).to_json() == train(some, recipe).to_json()
    # The document at the limit is counted up to the limit only.
    whole = train(["abcabc", "abcabcabcabc" + "xy" * 500], recipe)
    assert whole.to_json() == train(["abcabc", "abcabcabcabc"], recipe).to_json()


def test_texts_beyond_the_limit_are_not_read() -> None:
    def texts() -> object:
        yield "abcabcabc"
        yield "abcabcabc"
        raise AssertionError("read too far")

    train(texts(), TokenizerRecipe(vocab_size=263, max_training_bytes=18))  # type: ignore[arg-type]


def test_the_sample_of_a_large_corpus_does_not_depend_on_order() -> None:
    texts = [f"def name{n % 7}_{n}(x):\n    return x + {n}\n" for n in range(400)]
    total = sum(map(len, texts))
    recipe = TokenizerRecipe(vocab_size=290, max_training_bytes=total // 3)
    first = train(texts, recipe, total_bytes=total)
    assert train(texts[::-1], recipe, total_bytes=total).to_json() == first.to_json()
    other = train(texts, TokenizerRecipe(**{**recipe.model_dump(), "seed": 1}), total_bytes=total)
    assert other.to_json() != first.to_json()


def test_only_the_default_cut_has_a_llama_cpp_name(python_files: list[str]) -> None:
    usual = train(python_files, TokenizerRecipe(vocab_size=400))
    assert llama_cpp_name(usual.to_json()) == "gpt-2"
    other = train(python_files, TokenizerRecipe(vocab_size=400, cut="python"))
    assert llama_cpp_name(other.to_json()) is None
    assert usual.token_bytes[:261] == other.token_bytes[:261]
    text = "def f(x):\n        return it's[12345]\n"
    assert usual.decode(usual.encode(text)) == other.decode(other.encode(text)) == text


def test_the_file_equals_that_of_tokenizers(python_files: list[str]) -> None:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizer_named("gpt2"), byte_decoder()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    core.train_from_iterator([python_files], trainer)
    recipe = TokenizerRecipe(vocab_size=1000, max_document_bytes=10_000_000)
    assert train(python_files, recipe).to_json() == Tokenizer(core).to_json()


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_training_without_text_is_an_error(texts: list[str]) -> None:
    with pytest.raises(CorpusError, match="train split is empty"):
        train(texts, TokenizerRecipe(vocab_size=300))


def test_a_small_text_gives_a_smaller_vocabulary_and_a_note() -> None:
    class Notes:
        lines: ClassVar[list[str]] = []
        task = staticmethod(SILENT.task)
        note = staticmethod(lines.append)

    text = "import os\nimport io\n"
    learned = train([text], TokenizerRecipe(vocab_size=300), Notes)
    assert learned.decode(learned.encode(text)) == text
    assert 261 < learned.vocab_size == len(learned.token_bytes) < 300
    most = TokenizerRecipe(vocab_size=learned.vocab_size)
    assert train([text], most).to_json() == learned.to_json()
    assert Notes.lines == [
        f"the vocabulary has {learned.vocab_size} entries instead of 300: no pair is left "
        "that occurs twice in 20 bytes of text"
    ]
