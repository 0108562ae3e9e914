"""The suite typing: the same figures twice, in turn from all repositories, alone = the editors'."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from codeling.errors import InputError, UsageError
from codeling.evaluation.data.lookup import SuiteData
from codeling.evaluation.journal import Journal
from codeling.evaluation.keystrokes.proposers import SHOWN, rows_of
from codeling.evaluation.keystrokes.typist import type_text
from codeling.evaluation.samples_page import render
from codeling.evaluation.suites.suite import EvaluationSettings, SuiteInputs, TypingSettings
from codeling.evaluation.suites.typing import SuggestionServer, TypingSuite, select, typed_span
from codeling.generation.engine import Engine
from codeling.generation.runners.conversion import convert
from codeling.generation.runners.fast import FastRunner, Weights
from codeling.generation.suggestions.place import find_place
from codeling.generation.suggestions.suggester import THRESHOLDS, Suggester, SuggestionSettings
from codeling.memory.gating.parameters import load_parameters
from codeling.memory.mixture import MemoryMixture
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer

SOURCE = "".join(f"def compute_{n}(value):\n    return value + {n}\n\n\n" for n in range(16))


@dataclass(frozen=True)
class Place:
    text: str
    path: str
    repository: str = "r"
    start_line: int = 1


PAGE_VALUES = {
    "data": {"name": "test"},
    "model": {"name": "m"},
    "settings": {"seed": 0},
    "suite": "typing",
    "training_data": None,
    "machine": {},
}
FILES = [Place(SOURCE + f"x_{n} = {n}\n", f"{n}.py", f"r{n % 2}") for n in range(5)]


@pytest.fixture
def weights(tokenizer: Tokenizer) -> Weights:
    model = GPT2(GPT2Config(tokenizer.vocab_size, 64, 1, 2, 16))
    model.initialize(1)
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return convert(model.config, tensors)


@pytest.fixture
def engine(tokenizer: Tokenizer, weights: Weights) -> Engine:
    return Engine(FastRunner(weights), tokenizer)


def inputs(engine: Engine, journal: Path, files: list[Place], **settings: object) -> SuiteInputs:
    return SuiteInputs(
        engine,
        SuiteData("test", texts=lambda: iter(files)),
        EvaluationSettings(limit=2, **settings),  # type: ignore[arg-type]
        Journal(journal, "1"),
        lambda programs: pytest.fail("no program runs"),
    )


def make_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeling.evaluation.suites.typing._MAX_CHARACTERS", 120)
    monkeypatch.setattr("codeling.evaluation.suites.typing._THRESHOLDS", (0.0, 0.5))
    for limit in ("LINE", "BLOCK"):
        name = f"codeling.generation.suggestions.suggester._MAX_{limit}_TOKENS"
        monkeypatch.setattr(name, 3)


def test_two_measurements_give_the_same_scores(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_short(monkeypatch)
    suite = TypingSuite()
    first = suite.measure(inputs(engine, tmp_path / "a", FILES))
    second = suite.measure(inputs(engine, tmp_path / "b", FILES[::-1]))
    assert first["scores"] == second["scores"]
    assert first["num_problems"] == 2
    values = {score["name"]: score["value"] for score in first["scores"]}
    assert values["characters saved, buffer words"] > 0.1
    assert set(first["latency"]) == set(rows_of(has_memory=False))
    # What is measured is what an editor gets, each suggestion on its own.
    file = select(FILES, 0, 1)[0]
    begin, end = typed_span(file.text, "append")
    own = Suggester(engine)

    def suggest(prefix: str, suffix: str) -> str | None:
        found = own.suggest(prefix, suffix)
        return found.text if found else None

    session = type_text(file.text, suggest, begin=begin, end=end)
    [record] = [
        record
        for record in first["problems"]
        if record["row"] == "all" and record["task_id"].endswith(f"{file.path}:1")
    ]
    assert (record["saved"], record["shown"]) == (session.num_saved, len(session.events))
    # The curve's ungated point is that row, and higher thresholds show less.
    saved = [point["saved"] for point in first["curve"]]
    assert saved[0] == values["characters saved, all"]
    shown = [point["wrong"] for point in first["curve"]]
    assert shown[-1] <= shown[0]
    page = render({**first, **PAGE_VALUES})
    assert "Saved against wrong" in page
    assert file.path in page
    for event in [e for r in first["problems"] for e in r.get("accepted_spans", ())][:1]:
        assert "<mark>" in page, event


@pytest.mark.parametrize("mode", ["append", "insert"])
def test_events_are_those_of_a_twin_without_cache_journal_or_shared_proposals(
    tokenizer: Tokenizer,
    weights: Weights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """The twin makes each suggestion with an engine and a memory that have read nothing else."""
    make_short(monkeypatch)
    parameters = load_parameters()

    def fresh() -> Engine:
        engine = Engine(FastRunner(weights), tokenizer)
        engine.memory = MemoryMixture(parameters, tokenizer.token_bytes)
        return engine

    file = Place(SOURCE[:600], "a.py")
    settings = TypingSettings(mode=mode)
    given = inputs(fresh(), tmp_path / "a", [file], typing=settings)
    result = TypingSuite().measure(given)
    begin, end = typed_span(file.text, mode)
    for row, threshold in (("all", 0.0), (SHOWN, THRESHOLDS["normal"])):

        def suggest(prefix: str, suffix: str, threshold: float = threshold) -> str | None:
            found = Suggester(fresh(), SuggestionSettings(threshold)).suggest(prefix, suffix)
            return found.text if found else None

        session = type_text(file.text, suggest, begin=begin, end=end, sees_suffix=mode == "insert")
        [record] = [record for record in result["problems"] if record["row"] == row]
        assert (record["saved"], record["shown"], record["wrong"]) == (
            session.num_saved,
            len(session.events),
            session.num_wrong,
        )
        if row == SHOWN:
            accepted = [[e.position, e.accepted] for e in session.events if e.accepted]
            assert record["accepted_spans"] == accepted


def test_rows_with_a_memory_know_the_project_and_leave_the_engine_as_it_was(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_short(monkeypatch)
    suite = TypingSuite(SuggestionServer("http://one", lambda prefix, suffix, stop: "pass\n"))
    memory = MemoryMixture(load_parameters(), engine.tokenizer.token_bytes)
    engine.memory = memory
    other = "".join(f"def unheard_of_{n}(argument):\n    return {n}\n" for n in range(30))
    typed = "".join(f"def unheard_of_{n}(argument):\n    pass\n" for n in range(30))
    files = [Place(typed, "a.py", "r"), Place(other[:400], "b.py", "r")]
    result = suite.measure(inputs(engine, tmp_path / "a", files))
    values = {score["name"]: score["value"] for score in result["scores"]}
    rows = rows_of(has_memory=True)
    assert set(result["latency"]) == set(result["kinds"]) == {*rows, "server"}
    assert suite.recorded_settings(EvaluationSettings(), engine)["server"] == "http://one"
    with_project = values["characters saved, memory and project"]
    assert with_project > values["characters saved, memory"] + 0.05
    assert engine.memory is memory
    assert result["latency"]["all"]["reused"] > 0.5
    assert result["latency"]["server"]["reused"] is None
    assert all(0 <= each["value"] <= 1 for kinds in result["kinds"].values() for each in kinds)


def test_files_are_taken_in_turn_from_every_repository() -> None:
    big = [Place(SOURCE, f"big{n}.py", "big") for n in range(50)]
    files = select([*big, Place(SOURCE, "a.py", "small"), Place("x", "b.py", "tiny")], 0, 3)
    assert sorted(file.repository for file in files) == ["big", "big", "small"]


def test_whole_lines_are_typed() -> None:
    for mode in ("append", "insert"):
        begin, end = typed_span(SOURCE, mode)
        assert SOURCE[:begin][-1:] in ("", "\n")
        assert "\n" in (SOURCE[end - 1] if mode == "append" else SOURCE[end])
        assert begin < end


def test_an_inserted_line_is_suggested_from_its_beginning() -> None:
    begin, end = typed_span(SOURCE, "insert")
    place = find_place(SOURCE[:begin], SOURCE[end:])
    assert place is not None
    assert place.at_line_start


def test_files_that_are_too_short_are_one_clear_error(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file of 500 characters"):
        TypingSuite().measure(inputs(engine, tmp_path / "j", [Place("x = 1\n", "a.py")]))


def test_a_server_that_does_not_answer_is_noticed_first(engine: Engine, tmp_path: Path) -> None:
    def complete(prefix: str, suffix: str, stop: Sequence[str]) -> str:
        raise InputError("http://one: no answer from a server")

    suite = TypingSuite(SuggestionServer("http://one", complete))
    given = inputs(engine, tmp_path / "j", FILES)
    with pytest.raises(InputError, match="no answer from a server"):
        suite.measure(given)
    assert not list(given.journal.records())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accept": "letter"}, "accept must be one of word, line, whole"),
        ({"mode": "edit"}, "mode must be one of append, insert"),
        ({"clock": 0}, "clock must be above 0"),
        ({"ask_after": 0}, "ask_after must be 1 letter or more"),
    ],
)
def test_wrong_settings_are_one_clear_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TypingSettings(**settings)  # type: ignore[arg-type]
