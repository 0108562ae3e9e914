"""The gains of an adaptation: scores on the project's held-out files and on other code.

Before and after are measured on the same lines and bytes. The interval of a difference is a
bootstrap over files, since lines of one file are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codeling.adaptation.project_texts import ProjectText
from codeling.evaluation.data.held_out import held_out_texts
from codeling.evaluation.intrinsic import RESAMPLES, bits_per_byte
from codeling.evaluation.next_line import LinePlace, exact_matches, line_places
from codeling.generation.engine import Engine
from codeling.generation.scoring import scorer_of
from codeling.memory.loading import load_memory
from codeling.progress import SILENT, Progress
from codeling.recipe import TrainingRecipe

NUM_LINES = 600
"""Lines of the held-out files that are predicted."""
MAX_BYTES = 300_000
"""Text that bits per byte are measured on, of the project and of other code."""
_FULL_MINUTES = 2.0
_MIN_SHARE = 0.1


def sample_share(recipe: TrainingRecipe) -> float:
    """Share of the usual sample that is measured: shorter trainings are measured on less."""
    minutes = _FULL_MINUTES if recipe.minutes is None else recipe.minutes
    return max(_MIN_SHARE, min(1.0, minutes / _FULL_MINUTES))


@dataclass(frozen=True)
class AdaptationScores:
    """Scores of the model before or after the adaptation."""

    lines: list[bool]
    """Whether each line was predicted exactly by the model alone."""
    lines_with_memory: list[bool]
    """The same with the memory of the file and of the run's corpus, as completions are made."""
    bits_per_byte: float
    """On the held-out files."""
    other_bits_per_byte: float

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "next_line": _share(self.lines),
            "next_line_with_memory": _share(self.lines_with_memory),
            "bits_per_byte": self.bits_per_byte,
            "other_bits_per_byte": self.other_bits_per_byte,
            "lines": [int(each) for each in self.lines],
            "lines_with_memory": [int(each) for each in self.lines_with_memory],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "AdaptationScores":
        """Inverse of :meth:`to_json`. :raises KeyError: a value is missing."""
        lines, with_memory = (
            [bool(each) for each in values[key]] for key in ("lines", "lines_with_memory")
        )
        return cls(lines, with_memory, values["bits_per_byte"], values["other_bits_per_byte"])


def _share(lines: Sequence[bool]) -> float:
    return sum(lines) / max(1, len(lines))


class Exam:
    """The lines and texts that both models are measured on."""

    def __init__(
        self, held_out: Sequence[ProjectText], base: Path, seed: int, share: float = 1.0
    ) -> None:
        """``base``: the model folder before; the test split of its run is the other code.

        ``share``: that of :func:`sample_share`.
        """
        self.places: list[LinePlace] = line_places(held_out, max(1, int(share * NUM_LINES)), seed)
        self._max_bytes = int(share * MAX_BYTES)
        self._texts = [file.text for file in held_out]
        self._other = held_out_texts(base, self._max_bytes)

    def measure(self, model: Path, progress: Progress = SILENT) -> AdaptationScores:
        """Score the model in a folder, in fp32.

        :raises InputError: the memory of its run is damaged.
        """
        engine = Engine.load(model, precision="fp32")
        scorer = scorer_of(engine)
        own, other = (
            bits_per_byte(
                scorer, engine.tokenizer, texts, max_bytes=self._max_bytes, progress=progress
            ).value
            for texts in (self._texts, self._other)
        )
        alone = exact_matches(engine, self.places, progress)
        engine.memory = load_memory(model, engine.tokenizer)
        with_memory = exact_matches(engine, self.places, progress)
        return AdaptationScores(alone, with_memory, own, other)

    def difference_interval(
        self, before: Sequence[bool], after: Sequence[bool], seed: int
    ) -> tuple[float, float] | None:
        """95 % interval of the change in next-line exact match; None for a single file.

        ``before`` and ``after`` say of each place whether its line was predicted exactly.
        """
        gains: dict[str, list[int]] = {}
        for place, old, new in zip(self.places, before, after, strict=True):
            gains.setdefault(place.path, []).append(int(new) - int(old))
        if len(gains) < 2:
            return None
        sums = np.array([sum(each) for each in gains.values()], float)
        counts = np.array([len(each) for each in gains.values()], float)
        chosen = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
        values = sums[chosen].sum(1) / counts[chosen].sum(1)
        low, high = np.quantile(values, [0.025, 0.975]).tolist()
        return low, high
