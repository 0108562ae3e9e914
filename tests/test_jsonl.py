"""JSON Lines: what is appended is read, and bad lines are skipped or numbered."""

import gzip
import json
import re
import zlib
from pathlib import Path

import pytest

from codeling import jsonl


def test_appended_objects_are_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    values = [{"step": n, "text": "é\u2028\n"} for n in range(3)]
    for each in values:
        jsonl.append(path, each)
    assert list(jsonl.read(path)) == values
    assert list(jsonl.read(tmp_path / "missing.jsonl")) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_keep_their_numbers_and_bad_lines_give_none(tmp_path: Path, name: str) -> None:
    lines = [b'{"a": 1}', b"", b"[1]", b'{"a": ', b"\xff", b"[" * 100_000, b'{"b": 2}']
    path = tmp_path / name
    data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert list(jsonl.read_numbered(path)) == [
        (1, {"a": 1}),
        (3, None),
        (4, None),
        (5, None),
        (6, None),
        (7, {"b": 2}),
    ]
    assert list(jsonl.read(path)) == [{"a": 1}, {"b": 2}]


def test_an_incomplete_last_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    whole = json.dumps({"a": 1}) + "\n"
    path.write_text(whole + '{"a": 2', encoding="utf-8")
    assert list(jsonl.read(path)) == [{"a": 1}]


def test_damaged_compressed_data_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    data = gzip.compress(b'{"a": 1}\n' * 1000)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises((EOFError, zlib.error)):
        list(jsonl.read_numbered(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", "a list where an object is expected"),
        ("null", "null where an object is expected"),
        (b"\xff", "not UTF-8"),
        (b'{"a": ', "not JSON: Expecting value: line 1 column 7"),
        (b"[" * 100_000, "not JSON: maximum recursion depth"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: str | bytes, message: str) -> None:
    with pytest.raises(jsonl.LineError, match=re.escape(message)):
        jsonl.parse(line)


@pytest.mark.parametrize(
    ("value", "name"),
    [(True, "a boolean"), (1, "a number"), (0.5, "a number"), ("", "a string"), (None, "null"),
     ([], "a list"), ({}, "an object"), (b"", "bytes")],
)  # fmt: skip
def test_types_have_their_json_names(value: object, name: str) -> None:
    assert jsonl.type_name(value) == name
