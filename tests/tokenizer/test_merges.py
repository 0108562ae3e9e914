import json
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from codeling.tokenizer.merges import learn
from codeling.tokenizer.pretokenizer import pre_tokenizer_named

LETTERS = list("abcx")
COUNTS = st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 9), max_size=12)


def brute_force(
    counts: dict[str, int], entries: list[str], size: int, min_count: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """Merges found by recounting all pairs before each merge."""
    entries, merges = list(entries), []
    words = [(list(word), count) for word, count in counts.items()]
    done = set()
    while len(entries) < size:
        pairs: dict[tuple[int, int], int] = {}
        for word, count in words:
            for one, other in pairwise(word):
                key = entries.index(one), entries.index(other)
                pairs[key] = pairs.get(key, 0) + count
        left = {key: count for key, count in pairs.items() if count >= min_count}
        if not left:
            break
        first, second = min(left, key=lambda key: (-left[key], key))
        assert (first, second) not in done
        done.add((first, second))
        merged = entries[first] + entries[second]
        merges.append((entries[first], entries[second]))
        for word, _ in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == merges[-1]:
                    word[at : at + 2] = [merged]
                at += 1
        if merged not in entries:
            entries.append(merged)
    return entries, merges


@given(COUNTS, st.integers(4, 30), st.integers(1, 3))
def test_merges_equal_recounting_before_each_merge(
    counts: dict[str, int], size: int, min_count: int
) -> None:
    expected = brute_force(counts, LETTERS, size, min_count)
    assert learn(counts, LETTERS, size, min_count=min_count) == expected
    backwards = dict(reversed(counts.items()))
    assert learn(backwards, LETTERS, size, min_count=min_count) == expected


@pytest.mark.parametrize("vocab_size", [300, 2000])
def test_merges_of_real_files_are_those_of_tokenizers(
    python_files: list[str], vocab_size: int
) -> None:
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer_named("gpt2")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    core.train_from_iterator([python_files], trainer)
    model = json.loads(core.to_str())["model"]
    counts = json.loads(trainer.__getstate__())["BpeTrainer"]["words"]
    entries, merges = learn(counts, alphabet, vocab_size)
    assert entries == sorted(model["vocab"], key=model["vocab"].__getitem__)
    assert merges == [tuple(pair) for pair in model["merges"]]


def test_no_words_give_no_merges() -> None:
    assert learn({}, LETTERS, 10) == (LETTERS, [])
    assert learn({"a": 100, "b": 5}, LETTERS, 10) == (LETTERS, [])
    assert learn({"ab": 1}, LETTERS, 10) == (LETTERS, [])
    assert learn({"ab": 2}, LETTERS, 4) == (LETTERS, [])
