import numpy as np
import pytest

from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training.loss.key_tokens import spellings, weigh


def counted(rows: list[list[int]], spelled: list[tuple[int, ...]], alpha: float) -> list[float]:
    """Brute-force weights."""
    weights = []
    for row in rows:
        ends = {
            start + len(ids)
            for ids in spelled
            for start in range(len(row) - len(ids) + 1)
            if tuple(row[start : start + len(ids)]) == ids
        }
        weights.append(alpha + len(ends))
    mean = sum(weights) / len(weights)
    return [weight / mean for weight in weights]


def test_words_count_with_and_without_a_space_before_them(tokenizer: Tokenizer) -> None:
    spelled = spellings(["import"], tokenizer)
    for text in ("import", "x import", "(import"):
        ids = tokenizer.encode(text + "\n") * 1
        row = (ids + [5] * 12)[:12]
        plain = [5] * 12
        weights = weigh(np.array([row, plain]), spelled, 1.0)
        assert weights.tolist() == pytest.approx([2 / 1.5, 1 / 1.5])


def test_weights_equal_brute_force_and_have_mean_one() -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 4, size=(20, 30))
    spelled = [(1,), (2, 3), (3, 3), (0, 1, 2), (2,) * 40]
    for alpha in (0.5, 1.0, 3.0):
        weights = weigh(rows, spelled, alpha)
        assert weights.dtype == np.float32
        assert weights.tolist() == pytest.approx(counted(rows.tolist(), spelled, alpha))
        assert float(weights.mean()) == pytest.approx(1.0)


def test_a_word_with_two_spellings_counts_once_per_place() -> None:
    # " x" may be the space and "x": both end at the same place.
    rows = np.array([[9, 8, 7], [7, 7, 7]])
    weights = weigh(rows, [(8,), (9, 8)], 1.0)
    assert weights.tolist() == pytest.approx([2 / 1.5, 1 / 1.5])


def test_without_words_all_sequences_weigh_the_same() -> None:
    assert weigh(np.zeros((3, 5), dtype=np.int64), [], 2.0).tolist() == [1.0, 1.0, 1.0]
    assert weigh(np.zeros((3, 5), dtype=np.int64), [(1,)], 2.0).tolist() == [1.0, 1.0, 1.0]
