"""Shared passages against a brute-force search for equal runs of tokens."""

import random

import numpy as np
import pytest

from codeling.corpus.dedup.shared_passages import (
    GUARANTEE,
    PASSAGE_TOKENS,
    WINDOW,
    HeldOutPassages,
    fingerprint,
)

WORDS = [f"word{i}" for i in range(300)] + list("().,:=[]")


def text(draw: random.Random, length: int) -> list[str]:
    return [draw.choice(WORDS) for _ in range(length)]


def covered(document: list[str], train: list[list[str]], length: int) -> int:
    """Tokens of ``document`` in runs of at least ``length`` that a text of ``train`` has."""
    runs = {tuple(t[i : i + length]) for t in train for i in range(len(t) - length + 1)}
    is_covered = np.zeros(len(document), bool)
    for start in range(len(document) - length + 1):
        if tuple(document[start : start + length]) in runs:
            is_covered[start : start + length] = True
    return int(is_covered.sum())


def shared(documents: list[list[str]], train: list[list[str]]) -> list[int]:
    held_out, counts = fingerprint([" ".join(document) for document in documents])
    assert counts.tolist() == [len(document) for document in documents]
    passages = HeldOutPassages(held_out)
    for each in fingerprint(["\n".join(tokens) for tokens in train])[0]:
        passages.add_train(each)
    return [int(number) for number in passages.shared_tokens()]


@pytest.mark.parametrize("seed", range(30))
def test_long_passages_are_found_and_short_ones_never(seed: int) -> None:
    draw = random.Random(seed)
    train = [text(draw, draw.randint(0, 300)) for _ in range(4)]
    documents, num_planted = [], []
    for _ in range(5):
        document, planted = text(draw, draw.randint(0, 60)), 0
        for _ in range(draw.randint(0, 4)):
            source = draw.choice(train)
            start, length = draw.randrange(len(source) + 1), draw.randint(5, 90)
            passage = source[start : start + length]
            planted += len(passage) >= GUARANTEE
            document += passage + text(draw, 40)
        documents.append(document)
        num_planted.append(planted)
    for document, found, planted in zip(
        documents, shared(documents, train), num_planted, strict=True
    ):
        assert found <= covered(document, train, PASSAGE_TOKENS)
        assert found >= covered(document, train, GUARANTEE) - 2 * (WINDOW - 1) * planted


def test_a_copy_is_shared_up_to_its_ends() -> None:
    document = text(random.Random(1), 500)
    (found,) = shared([document], [document])
    assert 500 - 2 * (WINDOW - 1) <= found <= 500


def test_a_batch_gives_what_each_text_gives_alone() -> None:
    draw = random.Random(2)
    texts = [" ".join(text(draw, length)) for length in (0, 400, 23, 24, 31, 32, 90, 0)]
    together, counts = fingerprint(texts)
    for each, of_one, count in zip(texts, together, counts.tolist(), strict=True):
        (alone,), number = fingerprint([each])
        assert of_one.tolist() == alone.tolist()
        assert [count] == number.tolist()


def test_the_comment_at_the_top_of_a_file_is_left_out() -> None:
    words = " ".join(text(random.Random(3), 60))
    license_text = "#!/usr/bin/python\n" + "# all of the words of a licence\n" * 9 + "\n# more\n\n"
    top, counts = fingerprint([license_text + words, words + "\n" + license_text])
    alone, number = fingerprint([words])
    assert top[0].tolist() == alone[0].tolist()
    assert counts[0] == number[0]
    assert counts[1] > number[0]


def test_nothing_held_out_and_nothing_to_train_on() -> None:
    assert HeldOutPassages([]).shared_tokens().tolist() == []
    passages = HeldOutPassages([np.empty(0, np.uint64)])
    passages.add_train(np.arange(9).astype(np.uint64))
    assert passages.shared_tokens().tolist() == [0]
