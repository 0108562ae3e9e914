"""A journal cut at any byte continues, and never mixes two measurements."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codeling.evaluation.journal import Journal

ITEMS = list(range(11))


def squares(group: Sequence[int]) -> list[dict[str, Any]]:
    return [{"number": item, "square": item * item} for item in group]


def test_a_journal_cut_at_any_byte_ends_in_the_same_records(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole = Journal(path, "one").map_groups(ITEMS, 3, squares)
    assert whole == squares(ITEMS)
    data = path.read_bytes()
    for size in range(0, len(data) + 1, 7):
        path.write_bytes(data[:size])
        measured: list[int] = []

        def again(group: Sequence[int], measured: list[int] = measured) -> list[dict[str, Any]]:
            measured.extend(group)
            return squares(group)

        journal = Journal(path, "one")
        kept = len(journal.groups)
        assert journal.map_groups(ITEMS, 3, again) == whole
        assert measured == ITEMS[3 * kept :]
        assert path.read_bytes() == data


def test_another_measurement_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path, "one").map_groups(ITEMS, 3, squares)
    assert Journal(path, "two").groups == []


def test_progress_counts_groups_of_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "one")
    journal.append(squares(ITEMS[:4]))
    steps: list[int] = []
    journal.map_groups(ITEMS, 4, squares, steps.append)
    assert steps == [4, 4, 3]


def test_an_interruption_loses_only_the_current_group(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"

    def stops(group: Sequence[int]) -> list[dict[str, Any]]:
        if 6 in group:
            raise KeyboardInterrupt
        return squares(group)

    with pytest.raises(KeyboardInterrupt):
        Journal(path, "one").map_groups(ITEMS, 3, stops)
    assert len(Journal(path, "one").groups) == 2


def test_any_text_survives(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    record = {"text": "\u2028\n\r\0 é \U0001f40d"}
    Journal(path, "one").append([record])
    assert list(Journal(path, "one").records()) == [record]
