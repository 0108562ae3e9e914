"""The suite ``typing``: how many keystrokes a model saves a person who types unseen files.

A simulated person (:mod:`codeling.evaluation.keystrokes.typist`) types files of repositories that
the model was not trained on. Suggestions come from the call that editors use
(:class:`~codeling.generation.suggestions.suggester.Suggester`). Files are taken in turn from every
repository, so that a large one does not decide the score, and intervals are bootstrapped over
repositories, or over files if there is one repository.

All rows are measured in one run (:mod:`codeling.evaluation.keystrokes.proposers`). This module must
not know where the files come from.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple, Protocol

import numpy as np

from codeling.errors import InputError
from codeling.evaluation.data.contamination import (
    DOCUMENT_SHARE,
    contamination_summary,
    find_in_training,
)
from codeling.evaluation.data.document_sample import LocatedText, location_label, shuffled
from codeling.evaluation.data.lookup import DataSources, SuiteData, find_texts
from codeling.evaluation.keystrokes.kinds import LINE_KINDS, WORD_KINDS, line_kinds, word_kinds
from codeling.evaluation.keystrokes.proposers import (
    SERVER,
    SHOWN,
    ProposerEngines,
    Proposers,
    TimedSuggestions,
    recorded,
    rows_of,
)
from codeling.evaluation.keystrokes.typist import (
    Session,
    Suggest,
    type_text,
)
from codeling.evaluation.results import Record, Value, score, scores
from codeling.evaluation.suites.suite import (
    EvaluationSettings,
    SuiteInputs,
    TypingSettings,
    engine_settings,
)
from codeling.generation.engine import Engine
from codeling.generation.suggestions.choice import typed_characters
from codeling.generation.suggestions.place import find_place
from codeling.generation.suggestions.trimming import trimmed
from codeling.memory.mixture import MemoryMixture

_LIMIT = 20
"""Default number of files."""
_MIN_CHARACTERS = 500
_MAX_CHARACTERS = 2000
"""Characters of a file that are typed."""
_CURVE = "curve"
_THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Points of the curve of saved against wrong."""


class SuggestionServer(NamedTuple):
    """A running server that is measured beside the model."""

    url: str
    complete: Callable[[str, str, Sequence[str]], str]
    """Its completion between two texts, up to one of some strings."""

    def suggest(self, prefix: str, suffix: str) -> str | None:
        """The part of it that an editor shows, by our rules for the length."""
        place = find_place(prefix, suffix)
        if place is None:
            return None
        text = self.complete(prefix, suffix, ("\n",) if place.reach == "line" else ())
        return trimmed(text, prefix, suffix, place) or None


class TypingSuite:
    """Keystrokes saved; with ``server``, also by a server's suggestions."""

    name = "typing"
    summary = "keystrokes saved while unseen files are typed"
    programs = None
    reads_any_text = True

    def __init__(self, server: SuggestionServer | None = None) -> None:
        self._server = server

    def find_data(self, sources: DataSources) -> SuiteData:
        """Any texts, or the run's test split."""
        return find_texts(self.name, "documents", sources)

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """The files and how a suggestion is accepted."""
        return {
            **engine_settings(settings, engine),
            **asdict(settings.typing),
            "limit": settings.limit or _LIMIT,
            "rows": recorded(rows_of(isinstance(engine.memory, MemoryMixture))),
            "server": self._server.url if self._server else None,
        }

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """Type the files once per row.

        :raises InputError: there is no file of 500 characters, or the server does not answer.
        """
        assert inputs.data.texts is not None, "find_texts gives texts"
        settings = inputs.settings
        texts = list(inputs.data.texts())
        files = select(texts, settings.seed, settings.limit or _LIMIT)
        if not files:
            raise InputError(f"typing: there is no file of {_MIN_CHARACTERS} characters")
        chosen = {file.repository for file in files}
        repositories: dict[str, list[LocatedText]] = {name: [] for name in chosen}
        for text in texts:
            if text.repository in chosen:
                repositories[text.repository].append(text)
        engines = ProposerEngines(inputs.engine, repositories)
        rows: dict[str, Proposers | None] = {**rows_of(engines.has_memory)}
        if self._server is not None:
            self._server.suggest("x = ", "")  # fails before anything is measured
            rows[SERVER] = None
        try:
            records = inputs.journal.map_groups_with_bar(
                [(row, file) for file in files for row in (*rows, _CURVE)],
                "typing measurements",
                1,
                lambda group: [
                    self._record(settings.typing, engines, row, rows.get(row), file)
                    for row, file in group
                ],
                inputs.progress,
            )
        finally:
            engines.close()
        found = {
            location_label(f): find_in_training(inputs.corpus, f.text, DOCUMENT_SHARE)
            for f in files
        }
        points = [record for record in records if record["row"] == _CURVE]
        records = [record for record in records if record["row"] != _CURVE]
        for record in records:
            record["found"] = found[record["task_id"]]
        first = [record for record in records if record["row"] == next(iter(rows))]
        by_row = {row: [each for each in records if each["row"] == row] for row in rows}
        return {
            "num_problems": len(files),
            "num_characters": sum(record["characters"] for record in first),
            "scores": [each for row in rows for each in _scores(by_row[row], row, settings.seed)],
            "columns": [name for name, _, _ in _SCORES],
            "kinds": {row: _kind_scores(by_row[row], settings.seed) for row in rows},
            "curve": _curve(points),
            "latency": {row: _latency(by_row[row]) for row in rows},
            "contamination": contamination_summary(inputs.corpus, first),
            "problems": records,
        }

    def _record(
        self,
        settings: TypingSettings,
        engines: ProposerEngines,
        name: str,
        row: Proposers | None,
        file: LocatedText,
    ) -> Record:
        """The record of one row, or of the curve, for one file."""
        if name == _CURVE:
            return _curve_record(settings, file, engines.suggestions(Proposers(), file))
        if row is None:
            assert self._server is not None, "there is a row of the server"
            return _record(settings, name, file, _TimedServer(self._server))
        alone = name == SHOWN
        return _record(settings, name, file, engines.suggestions(row, file, alone=alone))


class Suggestions(Protocol):
    """Suggestions while one file is typed, with the time that each took."""

    milliseconds: list[float]

    def suggest(self, prefix: str, suffix: str) -> str | None:
        """The suggestion between two texts."""

    def prompt_tokens(self) -> tuple[int, int]:
        """Number of tokens in all prompts, and of those that were read before."""


class _TimedServer:
    """The suggestions of a server."""

    def __init__(self, server: SuggestionServer) -> None:
        self._server = server
        self.milliseconds: list[float] = []

    def suggest(self, prefix: str, suffix: str) -> str | None:
        """The suggestion between two texts."""
        begin = time.perf_counter()
        text = self._server.suggest(prefix, suffix)
        self.milliseconds.append(1000 * (time.perf_counter() - begin))
        return text

    def prompt_tokens(self) -> tuple[int, int]:
        """Zeros: the counts of another server are not known."""
        return 0, 0


def select(texts: Iterable[LocatedText], seed: int, limit: int) -> list[LocatedText]:
    """``limit`` files, in turn from every repository, in random order."""
    repositories: dict[str, list[LocatedText]] = {}
    for text in shuffled(texts, seed):
        if len(text.text) >= _MIN_CHARACTERS:
            repositories.setdefault(text.repository, []).append(text)
    turns = zip_longest(*repositories.values())
    return [text for turn in turns for text in turn if text is not None][:limit]


def typed_span(text: str, mode: str) -> tuple[int, int]:
    """The part of a file that is typed: from the beginning, or whole lines from the middle.

    In the middle, the last line end is not typed: it follows the cursor, as in an editor after a
    new line is opened. Otherwise the cursor would stand before the text of the next line.
    """
    if mode == "append":
        end = text.rfind("\n", 0, _MAX_CHARACTERS) + 1
        return 0, end or min(len(text), _MAX_CHARACTERS)
    middle = text.find("\n", len(text) // 3) + 1
    end = text.rfind("\n", middle, middle + min(_MAX_CHARACTERS, len(text) // 3))
    return middle, max(middle, end)


def _typed(
    settings: TypingSettings, file: LocatedText, suggest: Suggest
) -> tuple[str, int, int, Session]:
    """Type a part of ``file``: its text, begin and end of the part, and what happened."""
    text = file.text.replace("\r\n", "\n")
    begin, end = typed_span(text, settings.mode)
    session = type_text(
        text,
        suggest,
        settings.accept,
        begin=begin,
        end=end,
        sees_suffix=settings.mode == "insert",
        ask_after=settings.ask_after,
    )
    return text, begin, end, session


def _curve_record(
    settings: TypingSettings, file: LocatedText, suggestions: TimedSuggestions
) -> Record:
    """Type one file once per threshold."""
    points = []
    for threshold in _THRESHOLDS:
        suggest = partial(suggestions.suggest_from, threshold)
        session = _typed(settings, file, suggest)[-1]
        points.append({"threshold": threshold, **_counts(session)})
    return {"row": _CURVE, "points": points}


def _curve(records: Sequence[Record]) -> list[Record]:
    """Saved, accepted and wrong at each threshold, over all files."""
    found = []
    for same in zip(*(record["points"] for record in records), strict=True):
        total = {key: sum(point[key] for point in same) for key in same[0]}
        found.append(
            {
                "threshold": same[0]["threshold"],
                "saved": total["saved"] / total["characters"],
                "wrong": total["wrong"] / total["characters"],
                "accepted": total["accepted"] / total["shown"] if total["shown"] else None,
            }
        )
    return found


def _record(
    settings: TypingSettings, row: str, file: LocatedText, suggestions: Suggestions
) -> Record:
    """Type one file with the proposers of one row."""

    def suggest(prefix: str, suffix: str) -> str | None:
        found = suggestions.suggest(prefix, suffix)
        is_late = settings.clock is not None and suggestions.milliseconds[-1] > settings.clock
        return None if is_late else found

    text, begin, end, session = _typed(settings, file, suggest)
    num_prompt, num_reused = suggestions.prompt_tokens()
    record = {
        "row": row,
        "task_id": location_label(file),
        "repository": file.repository,
        "milliseconds": suggestions.milliseconds,
        "prompt_tokens": num_prompt,
        "reused_tokens": num_reused,
        "kinds": _accepted_kinds(text, begin, end, session),
        **_counts(session),
    }
    if row == SHOWN:
        accepted = [(event.position, event.accepted) for event in session.events if event.accepted]
        record |= {"begin": begin, "text": text[begin:end], "accepted_spans": accepted}
    return record


def _accepted_kinds(text: str, begin: int, end: int, session: Session) -> dict[str, list[int]]:
    """For each kind of character: how many were accepted, and how many there are."""
    typed = typed_characters(text, at_line_start=True)
    accepted = [False] * len(text)
    for event in session.events:
        for position in range(event.position, event.position + event.accepted):
            accepted[position] = True
    found = {kind: [0, 0] for kind in (*WORD_KINDS, *LINE_KINDS)}
    for kinds in (word_kinds(text), line_kinds(text)):
        for position in range(begin, end):
            if typed[position]:
                found[kinds[position]][0] += accepted[position]
                found[kinds[position]][1] += 1
    return found


def _counts(session: Session) -> Record:
    return {
        "characters": session.num_characters,
        "saved": session.num_saved,
        "shown": len(session.events),
        "accepted": session.num_accepted,
        "wrong": session.num_wrong,
        "new_lines": len(session.new_lines),
        "new_lines_right": sum(session.new_lines),
        "repeated_lines": len(session.repeated_lines),
        "repeated_lines_right": sum(session.repeated_lines),
    }


_SCORES = (
    ("characters saved", "saved", "characters"),
    ("accepted", "accepted", "shown"),
    ("shown per character", "shown", "characters"),
    ("wrong per character", "wrong", "characters"),
    ("new lines right", "new_lines_right", "new_lines"),
    ("repeated lines right", "repeated_lines_right", "repeated_lines"),
)
"""Name, numerator and denominator."""


def _scores(records: Sequence[Record], row: str, seed: int) -> list[Record]:
    """The scores of one row."""
    keys = {key for _, above, below in _SCORES for key in (above, below)}
    groups = [
        {"found": found, **{key: sum(record[key] for record in group) for key in keys}}
        for found, group in _groups(records)
    ]
    values = [(f"{name}, {row}", _ratio(above, below)) for name, above, below in _SCORES]
    return scores(groups, values, seed)


def _kind_scores(records: Sequence[Record], seed: int) -> list[Record]:
    """The share of the characters of each kind that were accepted."""
    found = []
    for kind in (*WORD_KINDS, *LINE_KINDS):
        groups = [
            {
                "found": matches,
                "accepted": sum(record["kinds"][kind][0] for record in group),
                "characters": sum(record["kinds"][kind][1] for record in group),
            }
            for matches, group in _groups(records)
        ]
        found.append(score(kind, groups, _ratio("accepted", "characters"), seed))
    return [each for each in found if each is not None]


def _ratio(above: str, below: str) -> Value:
    return lambda record: (record[above], record[below]) if record[below] else None


def _groups(records: Sequence[Record]) -> Iterator[tuple[list[Any] | None, list[Record]]]:
    """The records of each repository, or each record of a single one, and what was found of them in
    training."""
    groups: dict[str, list[Record]] = {}
    key = "repository" if len({record["repository"] for record in records}) > 1 else "task_id"
    for record in records:
        groups.setdefault(record[key], []).append(record)
    for group in groups.values():
        lists = [record["found"] for record in group]
        unknown = any(each is None for each in lists)
        yield None if unknown else [match for each in lists for match in each], group


def _latency(records: Sequence[Record]) -> Record:
    """Milliseconds from a request to the suggestion, and the share of the prompts reused."""
    times = [t for record in records for t in record["milliseconds"]]
    p50, p95 = np.percentile(times, [50, 95]).tolist()
    num_prompt = sum(record["prompt_tokens"] for record in records)
    num_reused = sum(record["reused_tokens"] for record in records)
    return {
        "num_requests": len(times),
        "p50_ms": p50,
        "p95_ms": p95,
        "reused": num_reused / num_prompt if num_prompt else None,
    }
