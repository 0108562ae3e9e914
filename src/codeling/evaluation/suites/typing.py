"""The suite ``typing``: how many keystrokes a model saves a person who types unseen files.

A simulated person (:mod:`codeling.evaluation.typist`) types files of repositories that the model
was not trained on. Suggestions come from the call that editors use
(:class:`~codeling.generation.suggestions.suggester.Suggester`). Files are taken in turn from every
repository, so that a large one does not decide the score, and intervals are bootstrapped over
repositories.

The rows are measured in one run: the words of the open file alone, as every editor has them; the
model, with its memory if there is one; and both, shown always or at three levels of aggressiveness.
This module must not know where the files come from.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import numpy as np

from codeling.errors import InputError
from codeling.evaluation.data.contamination import (
    DOCUMENT_SHARE,
    contamination_summary,
    find_in_training,
)
from codeling.evaluation.data.document_sample import LocatedText, location_label, shuffled
from codeling.evaluation.data.lookup import DataSources, SuiteData, find_texts
from codeling.evaluation.results import Record, Value, scores
from codeling.evaluation.suites.suite import EvaluationSettings, SuiteInputs, engine_settings
from codeling.evaluation.typist import Session, type_text
from codeling.generation.engine import Engine
from codeling.generation.suggestions.suggester import THRESHOLDS, Suggester, SuggestionSettings

_LIMIT = 20
"""Default number of files."""
_MIN_CHARACTERS = 500
_MAX_CHARACTERS = 2000
"""Characters of a file that are typed."""

ROWS: dict[str, SuggestionSettings] = {
    "buffer words": SuggestionSettings(use_model=False),
    "model": SuggestionSettings(use_words=False),
    "all, ungated": SuggestionSettings(),
}
"""Who proposes in each row of the table."""
ROWS.update(
    {f"all, {name}": SuggestionSettings(threshold) for name, threshold in THRESHOLDS.items()}
)
_SHOWN_ROW = "all, normal"
"""The row whose files the page shows."""


class TypingSuite:
    """Keystrokes saved."""

    name = "typing"
    summary = "keystrokes saved while unseen files are typed"
    programs = None
    reads_any_text = True

    def find_data(self, sources: DataSources) -> SuiteData:
        """Any texts, or the run's test split."""
        return find_texts(self.name, "documents", sources)

    def recorded_settings(self, settings: EvaluationSettings, engine: Engine) -> dict[str, Any]:
        """The files and how a suggestion is accepted."""
        return {
            **engine_settings(settings, engine),
            **asdict(settings.typing),
            "limit": settings.limit or _LIMIT,
            "rows": {name: asdict(row) for name, row in ROWS.items()},
        }

    def measure(self, inputs: SuiteInputs) -> dict[str, Any]:
        """Type the files once per row.

        :raises InputError: there is no file of 500 characters.
        """
        assert inputs.data.texts is not None, "find_texts gives texts"
        settings = inputs.settings
        files = select(inputs.data.texts(), settings.seed, settings.limit or _LIMIT)
        if not files:
            raise InputError(f"typing: there is no file of {_MIN_CHARACTERS} characters")
        tasks = [(row, file) for row in ROWS for file in files]
        records = inputs.journal.map_groups_with_bar(
            tasks,
            "typed files",
            1,
            lambda group: [_record(inputs, row, file) for row, file in group],
            inputs.progress,
        )
        found = {
            location_label(f): find_in_training(inputs.corpus, f.text, DOCUMENT_SHARE)
            for f in files
        }
        for record in records:
            record["found"] = found[record["task_id"]]
        first = [record for record in records if record["row"] == next(iter(ROWS))]
        return {
            "num_problems": len(files),
            "num_characters": sum(record["characters"] for record in first),
            "scores": [each for row in ROWS for each in _scores(records, row, settings.seed)],
            "latency": {row: _latency(records, row) for row in ROWS},
            "contamination": contamination_summary(inputs.corpus, first),
            "problems": records,
        }


def select(texts: Iterable[LocatedText], seed: int, limit: int) -> list[LocatedText]:
    """``limit`` files, in turn from every repository, in random order."""
    repositories: dict[str, list[LocatedText]] = {}
    for text in shuffled(texts, seed):
        if len(text.text) >= _MIN_CHARACTERS:
            repositories.setdefault(text.repository, []).append(text)
    turns = zip_longest(*repositories.values())
    return [text for turn in turns for text in turn if text is not None][:limit]


def typed_span(text: str, mode: str) -> tuple[int, int]:
    """The part of a file that is typed: from the beginning, or whole lines from the middle."""
    if mode == "append":
        end = text.rfind("\n", 0, _MAX_CHARACTERS) + 1
        return 0, end or min(len(text), _MAX_CHARACTERS)
    middle = text.find("\n", len(text) // 3) + 1
    end = text.rfind("\n", middle, middle + min(_MAX_CHARACTERS, len(text) // 3)) + 1
    return middle, max(middle, end)


def _record(inputs: SuiteInputs, row: str, file: LocatedText) -> Record:
    """Type one file with the proposers of one row."""
    suggester = Suggester(inputs.engine, ROWS[row])
    settings, milliseconds = inputs.settings.typing, []

    def suggest(prefix: str, suffix: str) -> str | None:
        begin = time.perf_counter()
        suggestion = suggester.suggest(prefix, suffix)
        milliseconds.append(1000 * (time.perf_counter() - begin))
        if settings.clock is not None and milliseconds[-1] > settings.clock:
            return None
        return suggestion.text if suggestion else None

    text = file.text.replace("\r\n", "\n")
    begin, end = typed_span(text, settings.mode)
    session = type_text(
        text,
        suggest,
        settings.accept,
        begin=begin,
        end=end,
        sees_suffix=settings.mode == "insert",
    )
    record = {
        "row": row,
        "task_id": location_label(file),
        "repository": file.repository,
        "milliseconds": milliseconds,
        **_counts(session),
    }
    if row == _SHOWN_ROW:
        accepted = [(event.position, event.accepted) for event in session.events if event.accepted]
        record |= {"begin": begin, "text": text[begin:end], "accepted_spans": accepted}
    return record


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
    """The scores of one row, over its repositories."""
    repositories = list(_by_repository(record for record in records if record["row"] == row))
    values = [(f"{name}, {row}", _ratio(above, below)) for name, above, below in _SCORES]
    return scores(repositories, values, seed)


def _ratio(above: str, below: str) -> Value:
    return lambda record: (record[above], record[below]) if record[below] else None


def _by_repository(records: Iterable[Record]) -> Iterator[Record]:
    """The counts of each repository, and whether one of its files was found in training."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["repository"], []).append(record)
    keys = {key for _, above, below in _SCORES for key in (above, below)}
    for group in groups.values():
        lists = [record["found"] for record in group]
        found = None if any(each is None for each in lists) else [m for each in lists for m in each]
        yield {"found": found, **{key: sum(record[key] for record in group) for key in keys}}


def _latency(records: Sequence[Record], row: str) -> Record:
    """Milliseconds from a request to the suggestion."""
    times = [t for record in records if record["row"] == row for t in record["milliseconds"]]
    p50, p95 = np.percentile(times, [50, 95]).tolist()
    return {"num_requests": len(times), "p50_ms": p50, "p95_ms": p95}
