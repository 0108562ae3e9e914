"""Each row has the network, the memory and the project that its name says."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from codeling.evaluation.data.document_sample import LocatedText
from codeling.evaluation.keystrokes.proposers import ProposerEngines, rows_of
from codeling.generation.engine import Engine
from codeling.generation.runners.uniform import UniformRunner
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Place:
    path: str
    text: str
    repository: str = "r"
    start_line: int = 1


FILES = [Place(f"{name}.py", f"{name} = 1\n" * 5) for name in ("one", "two", "three")]
REPOSITORIES: dict[str, Sequence[LocatedText]] = {"r": FILES}


@pytest.fixture
def engine(tokenizer: Tokenizer) -> Engine:
    model = GPT2(GPT2Config(tokenizer.vocab_size, 64, 1, 2, 16))
    model.initialize(1)
    return Engine.from_model(model, tokenizer)


def test_rows_differ_as_their_names_say(engine: Engine) -> None:
    memory = engine.memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    engines = ProposerEngines(engine, REPOSITORIES)
    assert engines.has_memory
    for name, row in rows_of(has_memory=True).items():
        engine_of_row = engines.suggestions(row, FILES[0])._suggester.engine
        found = engine_of_row.memory
        has_network = "without network" not in name and not name.startswith("memory")
        assert isinstance(engine_of_row.runner, UniformRunner) != has_network
        if name in ("buffer words", "model"):
            assert found is None
            continue
        assert isinstance(found, MemoryMixture)
        assert found.with_model == has_network
        has_project = name.startswith("all") or "project" in name
        assert (found.project is not None) == (has_project and "without project" not in name)
    engines.close()
    assert engine.memory is memory


def test_a_project_changes_with_the_file_and_may_be_empty(engine: Engine) -> None:
    engine.memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    engines = ProposerEngines(engine, {**REPOSITORIES, "alone": [Place("a.py", "x", "alone")]})
    row = rows_of(has_memory=True)["all"]

    def project(file: LocatedText) -> object:
        memory = engines.suggestions(row, file)._suggester.engine.memory
        assert isinstance(memory, MemoryMixture)
        return memory.project

    first = project(FILES[0])
    assert first is not None
    assert project(FILES[0]) is first
    assert project(FILES[1]) is not first
    assert project(Place("a.py", "x", "alone")) is None


def test_without_a_memory_there_are_fewer_rows(engine: Engine) -> None:
    engines = ProposerEngines(engine, REPOSITORIES)
    assert not engines.has_memory
    for row in rows_of(has_memory=False).values():
        assert engines.suggestions(row, FILES[0])._suggester.engine.memory is None


def test_shared_proposals_give_what_the_editors_call_gives_alone(engine: Engine) -> None:
    engine.memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    engines = ProposerEngines(engine, REPOSITORIES)
    text = FILES[0].text + "on"
    rows = rows_of(has_memory=True)
    cursors = [len(text), len(text) - 2, 3, 9]
    expected: dict[str, list[str | None]] = {}
    for name, row in rows.items():
        alone = engines.suggestions(row, FILES[0], alone=True)
        expected[name] = [alone.suggest(text[:cursor], "\n") for cursor in cursors]
    assert len({tuple(each) for each in expected.values()}) > 1
    for _ in range(2):
        for name, row in rows.items():
            shared = engines.suggestions(row, FILES[0])
            assert [shared.suggest(text[:cursor], "\n") for cursor in cursors] == expected[name]
            assert len(shared.milliseconds) == len(cursors)
