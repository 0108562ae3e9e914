"""Who proposes in each row of the suite ``typing``, from the words of the open file to everything.

Without a memory there are the words, the model, and both. With one there are also the memory
without the network, and rows with and without the project that an editor would have open. This
module must not know where files come from, nor how a person types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from codeling.evaluation.data.document_sample import LocatedText
from codeling.evaluation.keystrokes.open_project import other_files
from codeling.generation.engine import Engine
from codeling.generation.runners.uniform import UniformRunner
from codeling.generation.suggestions.suggester import THRESHOLDS, Suggester, SuggestionSettings
from codeling.memory.chains import Chains
from codeling.memory.mixture import MemoryMixture
from codeling.memory.project import ORDERS, FixedProject

SERVER = "server"
"""The row of a server's suggestions."""
SHOWN = "all, normal"
"""What an editor shows by default."""


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

    @property
    def has_memory(self) -> bool:
        """Whether a memory is measured."""
        return self._memory is not None

    def suggester(self, row: Proposers, file: LocatedText) -> Suggester:
        """Suggests while ``file`` is typed. The next call changes the engine of the last one."""
        engine = self._engine if row.has_network else self._without_network
        engine.memory = self._mixture(row, file)
        return Suggester(engine, row.settings)

    def close(self) -> None:
        """Give the engine its memory back."""
        self._engine.memory = self._memory

    def _mixture(self, row: Proposers, file: LocatedText) -> MemoryMixture | None:
        memory = self._memory
        if memory is None or row.memory == "none":
            return None
        return MemoryMixture(
            memory.parameters,
            memory.token_bytes,
            corpus=memory.corpus,
            project=self._project_of(file, memory) if row.memory == "project" else None,
            with_model=row.has_network,
        )

    def _project_of(self, file: LocatedText, memory: MemoryMixture) -> FixedProject | None:
        """The project of a file; None if it has no other files."""
        if self._project is None or self._project[0] is not file:
            self._project = file, self._read_project(file, memory)
        return self._project[1]

    def _read_project(self, file: LocatedText, memory: MemoryMixture) -> FixedProject | None:
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
        return FixedProject(memory.parameters.trust["project"], tokenizer.vocab_size, chains)
