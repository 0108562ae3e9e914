"""Modified Kneser-Ney smoothing by dictionaries, slowly, and random documents."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from codeling.memory.corpus_table.counting import CorpusTokens
from codeling.memory.corpus_table.kneser_ney import discounts

Gram = tuple[int, ...]


def documents(
    seed: int, vocab_size: int = 11, number: int = 30, longest: int = 60, boundary: int = 0
) -> tuple[list[list[int]], CorpusTokens]:
    """Documents in which short runs recur, some of them empty."""
    draw = random.Random(seed)
    phrases = [[draw.randrange(1, vocab_size) for _ in range(5)] for _ in range(8)]
    texts = []
    for _ in range(number):
        text: list[int] = []
        while len(text) < draw.randint(0, longest):
            text += draw.choice(phrases)[: draw.randint(1, 5)]
        texts.append(text)
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.uint64)
    ids = np.array([token for text in texts for token in text], np.uint16)
    return texts, CorpusTokens(ids, offsets, vocab_size, boundary)


def counted(texts: Sequence[Sequence[int]], order: int, boundary: int = 0) -> list[Counter[Gram]]:
    """The counts of orders 1 to ``order``: of the highest, and of distinct tokens before others."""
    highest: Counter[Gram] = Counter()
    for text in texts:
        padded = [boundary] * (order - 1) + list(text) + [boundary]
        highest.update(tuple(padded[i : i + order]) for i in range(len(text) + 1))
    levels = [highest]
    for _ in range(order - 1):
        levels.append(Counter(gram[1:] for gram in levels[-1]))
    return levels[::-1]


class Reference:
    """The distribution after any context, of all n-grams whose count reaches a threshold."""

    def __init__(
        self, levels: Sequence[Counter[Gram]], vocab_size: int, thresholds: Sequence[int] = ()
    ) -> None:
        self._vocab_size, self._levels = vocab_size, levels
        self._after: list[dict[Gram, Counter[int]]] = []
        self._discounts = []
        for level in levels:
            after: dict[Gram, Counter[int]] = defaultdict(Counter)
            for gram, count in level.items():
                after[gram[:-1]][gram[-1]] = count
            self._after.append(after)
            self._discounts.append(discounts(np.bincount(list(level.values()), minlength=5)))
        self.kept = [set(levels[0])]
        needed: set[Gram] = set()
        for n in range(len(levels), 1, -1):
            least = thresholds[n] if thresholds else 1
            kept = {gram for gram, count in levels[n - 1].items() if count >= least} | needed
            self.kept.insert(1, kept)
            needed = {gram[:-1] for gram in kept}

    def distribution(self, context: Gram) -> np.ndarray:
        """(V,)"""
        if len(context) >= len(self._levels):
            context = context[len(context) - len(self._levels) + 1 :]
        lower = (
            self.distribution(context[1:])
            if context
            else np.full(self._vocab_size, 1 / self._vocab_size)
        )
        n = len(context) + 1
        weights = np.zeros(self._vocab_size)
        after = self._after[n - 1].get(context, Counter())
        for token, count in after.items():
            if (*context, token) in self.kept[n - 1]:
                weights[token] = (count - self._discounts[n - 1][min(count, 3)]) / after.total()
        found: np.ndarray = weights + (1 - weights.sum()) * lower
        return found
