"""The proposers of each row of the suite ``typing``, from the words of the open file to all.

Without a memory there are the words, the model, and both. With one there are also the memory
without the network, and rows with and without the project that an editor would have open. Rows
with the same network and memory share what these propose at a cursor. This module must not know
where files come from, nor how a person types.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from codeling.evaluation.data.document_sample import LocatedText
from codeling.evaluation.keystrokes.open_project import other_files
from codeling.generation.engine import Engine
from codeling.generation.runners.uniform import UniformRunner
from codeling.generation.suggestions.choice import Candidate, choose
from codeling.generation.suggestions.place import Place, find_place
from codeling.generation.suggestions.suggester import (
    THRESHOLDS,
    Suggester,
    SuggestionSettings,
    word_candidates,
)
from codeling.memory.chains import Chains
from codeling.memory.mixture import MemoryMixture
from codeling.memory.project import ORDERS, FixedProject

SERVER = "server"
"""The row of a server's suggestions."""
SHOWN = "all, normal"
"""The row of an editor's default."""


@dataclass(frozen=True)
class Proposers:
    """The proposers of one row."""

    settings: SuggestionSettings = field(default_factory=SuggestionSettings)
    memory: Literal["none", "open file", "project"] = "project"
    """``open file``: the memory that is measured, without a project."""
    has_network: bool = True


def rows_of(has_memory: bool) -> dict[str, Proposers]:
    """The rows by name, with a memory or without."""
    model = SuggestionSettings(use_words=False)
    rows = {
        "buffer words": Proposers(SuggestionSettings(use_model=False), "none"),
        "model": Proposers(model, "none"),
    }
    if has_memory:
        rows |= {
            "memory": Proposers(model, "open file", has_network=False),
            "memory and project": Proposers(model, has_network=False),
            "model and memory": Proposers(model, "open file"),
            "model, memory and project": Proposers(model),
            "all without network": Proposers(has_network=False),
            "all without project": Proposers(memory="open file"),
        }
    rows["all"] = Proposers()
    for level, threshold in THRESHOLDS.items():
        rows[f"all, {level}"] = Proposers(SuggestionSettings(threshold))
    return rows


def recorded(rows: Mapping[str, Proposers]) -> dict[str, Any]:
    """The rows as JSON values."""
    return {name: asdict(row) for name, row in rows.items()}


class Proposed(NamedTuple):
    """The candidates of network and memory at one cursor."""

    place: Place | None
    candidates: list[Candidate]
    milliseconds: float
    """Time that it took."""


class TimedSuggestions:
    """The suggestions of one row in one file, with the time that each took."""

    def __init__(
        self, suggester: Suggester, known: dict[tuple[str, str], Proposed] | None = None
    ) -> None:
        """``known`` is what network and memory propose, by the texts around the cursor; more is
        added. None: each suggestion is made by the call of the editors, on its own."""
        self.milliseconds: list[float] = []
        self._suggester = suggester
        self._known = known
        self._of_model = Suggester(suggester.engine, SuggestionSettings(use_words=False))
        self._scheduler = suggester.engine.scheduler
        self._before = self._scheduler.num_prompt_tokens, self._scheduler.num_reused_tokens

    def suggest(self, prefix: str, suffix: str) -> str | None:
        """The suggestion between two texts."""
        return self.suggest_from(self._suggester.settings.threshold, prefix, suffix)

    def suggest_from(self, threshold: float, prefix: str, suffix: str) -> str | None:
        """:meth:`suggest` with another threshold."""
        begin, more = time.perf_counter(), 0.0
        if self._known is None:
            shown = self._suggester.suggest(prefix, suffix)
            found = shown.text if shown else None
        else:
            is_known = (prefix, suffix) in self._known
            proposed = self._proposed(self._known, prefix, suffix)
            found = self._chosen(proposed, threshold, prefix, suffix)
            more = proposed.milliseconds if is_known else 0.0
        self.milliseconds.append(1000 * (time.perf_counter() - begin) + more)
        return found

    def prompt_tokens(self) -> tuple[int, int]:
        """Number of tokens in all prompts, and of those that the engine had read before."""
        num_prompt, num_reused = self._before
        found = self._scheduler
        return found.num_prompt_tokens - num_prompt, found.num_reused_tokens - num_reused

    def _proposed(
        self, known: dict[tuple[str, str], Proposed], prefix: str, suffix: str
    ) -> Proposed:
        if not self._suggester.settings.use_model:
            return Proposed(find_place(prefix, suffix), [], 0.0)
        if (prefix, suffix) not in known:
            begin = time.perf_counter()
            place = find_place(prefix, suffix)
            found = self._of_model.candidates(place, prefix, suffix) if place else []
            milliseconds = 1000 * (time.perf_counter() - begin)
            known[prefix, suffix] = Proposed(place, found, milliseconds)
        return known[prefix, suffix]

    def _chosen(self, proposed: Proposed, threshold: float, prefix: str, suffix: str) -> str | None:
        place, candidates, _ = proposed
        if place is None:
            return None
        if self._suggester.settings.use_words:
            candidates = [*candidates, *word_candidates(place, prefix, suffix)]
        found = choose(candidates, prefix, suffix, place, threshold)
        return found.text if found else None


class ProposerEngines:
    """Engines for the proposers of all rows, with the projects of the typed files."""

    def __init__(self, engine: Engine, repositories: Mapping[str, Sequence[LocatedText]]) -> None:
        """``engine`` has the memory that is measured. ``repositories`` are all files by the name of
        their repository."""
        assert engine.memory is None or isinstance(engine.memory, MemoryMixture)
        self._memory = engine.memory
        self._repositories = repositories
        tokenizer, runner = engine.tokenizer, engine.runner
        self._engine = engine
        self._without_network = Engine(
            UniformRunner(runner.vocab_size, runner.context_length),
            tokenizer,
            suffix_first=engine.suffix_first,
        )
        self._ids: dict[str, list[int]] = {}
        """Ids of the files of one repository, by path."""
        self._project: tuple[LocatedText, FixedProject | None] | None = None
        """The file that was typed last, and its project."""
        self._known: dict[tuple[str, bool], dict[tuple[str, str], Proposed]] = {}
        """Candidates in this file, by the memory and whether there is the network."""

    @property
    def has_memory(self) -> bool:
        """Whether a memory is measured."""
        return self._memory is not None

    def suggestions(
        self, row: Proposers, file: LocatedText, *, alone: bool = False
    ) -> TimedSuggestions:
        """The suggestions while ``file`` is typed. The next call changes the engine of this one.

        ``alone``: each is made on its own, by the call of the editors.
        """
        if self._project is None or self._project[0] is not file:
            self._project = file, self._read_project(file)
            self._known.clear()
        engine = self._engine if row.has_network else self._without_network
        engine.memory = self._mixture(row, self._project[1])
        known = self._known.setdefault((row.memory, row.has_network), {})
        return TimedSuggestions(Suggester(engine, row.settings), None if alone else known)

    def close(self) -> None:
        """Give the engine its memory back."""
        self._engine.memory = self._memory

    def _mixture(self, row: Proposers, project: FixedProject | None) -> MemoryMixture | None:
        memory = self._memory
        if memory is None or row.memory == "none":
            return None
        return MemoryMixture(
            memory.parameters,
            memory.token_bytes,
            corpus=memory.corpus,
            project=project if row.memory == "project" else None,
            with_model=row.has_network,
        )

    def _read_project(self, file: LocatedText) -> FixedProject | None:
        """The project of a file; None if it has no other files, or without a memory."""
        if self._memory is None:
            return None
        files = other_files(file, self._repositories.get(file.repository, ()))
        if not files:
            return None
        tokenizer = self._engine.tokenizer
        unknown = [each.text for each in files if each.text not in self._ids]
        if len(unknown) == len(files):  # of another repository
            self._ids.clear()
        self._ids |= zip(unknown, tokenizer.encode_batch(unknown), strict=True)
        chains = Chains(ORDERS)
        for each in reversed(files):  # the newest positions are visited first
            chains.append(np.array([tokenizer.end_of_text, *self._ids[each.text]], np.int32))
        return FixedProject(self._memory.parameters.trust["project"], tokenizer.vocab_size, chains)
