"""The share of the files that contain a keyword, regardless of other filters.

The Hugging Face course gives this number for its data-science slice: 3.26 % of codeparrot's files.
Counted by the survey; shown while it runs, at its end, and in the report.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codeling.quantity import quantity
from codeling.recipe import CorpusRecipe
from codeling.report.corpus_section import hit_rate


class HitRate:
    """Counts files and hits while the survey runs, and its speed."""

    def __init__(self, recipe: CorpusRecipe) -> None:
        self._recipe = recipe
        self._searched = self._hits = 0
        self._documents = self._bytes = 0
        self._start = time.monotonic()

    def add_finished(self, survey: Path) -> None:
        """Count a partition that was surveyed before this build continued."""
        with pa.memory_map(str(survey)) as file:
            column = pa.ipc.open_file(file).read_all().column("has_keyword")
        self._searched += len(column) - column.null_count
        self._hits += pc.sum(column).as_py() or 0

    def add(self, answer: Mapping[str, Any]) -> str:
        """Count a partition that has just been surveyed; return what the bar shows."""
        self._searched += answer["searched"]
        self._hits += answer["hits"]
        self._documents += answer["documents"]
        self._bytes += answer["bytes"]
        rate = f"{quantity(self._documents / self._seconds, 'file')}/s"
        if not self._recipe.keywords:
            return rate
        return f"{self._hits / max(1, self._searched):.2%} with a keyword, {rate}"

    @property
    def _seconds(self) -> float:
        return max(1e-3, time.monotonic() - self._start)

    def lines(self) -> list[str]:
        """The hit rate and the speed as lines for a terminal; none without keywords."""
        if not self._recipe.keywords:
            return []
        line = hit_rate(summary(self._recipe, self._searched, self._hits))
        if self._documents:
            rate = quantity(self._documents / self._seconds, "file")
            line += f"; read at {rate}/s, {self._bytes / self._seconds / 1e6:,.1f} MB/s"
        return [line]


def summary(recipe: CorpusRecipe, searched: int, hits: int) -> dict[str, Any]:
    """The entry ``keywords`` of the corpus report."""
    return {
        "words": list(recipe.keywords),
        "rule": recipe.keywords_in,
        "files_searched": searched,
        "files_with_keyword": hits,
    }
