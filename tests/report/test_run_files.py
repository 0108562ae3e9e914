"""Files of a run folder: a missing or damaged file is one line that names it."""

import struct
from pathlib import Path

import pytest

from codeling.errors import InputError
from codeling.report import run_files
from codeling.report.run_files import share_read


@pytest.mark.parametrize(
    "tokens, expected",
    [(5, "0.5 %"), (29, "2.9 %"), (345, "34 %"), (1000, "100 %"), (2500, "2.5 times")],
)
def test_the_share_of_the_split_that_was_read(tokens: int, expected: str) -> None:
    assert share_read(tokens, 1000).startswith(expected)
    assert "1,000 tokens of the training split" in share_read(tokens, 1000)


@pytest.mark.parametrize(
    "read, name",
    [
        (lambda folder: run_files.read_json(folder, "a.json"), "a.json"),
        (lambda folder: run_files.read_json_lines(folder, "a.jsonl"), "a.jsonl"),
        (lambda folder: run_files.read_text(folder, "a.toml"), "a.toml"),
        (run_files.num_split_tokens, "tokens/train.idx"),
        (run_files.num_parameters, "model/model.safetensors"),
    ],
)
def test_missing_and_unreadable_files_are_named(tmp_path: Path, read: object, name: str) -> None:
    assert callable(read)
    with pytest.raises(InputError, match=f"^{name} is missing$"):
        read(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if not name.endswith(".toml"):
        (tmp_path / name).write_bytes(b"\x00 not it")
        with pytest.raises(InputError, match=f"^{name} is damaged: "):
            read(tmp_path)


def test_the_tokens_of_the_split_come_from_the_index(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    header = struct.pack("<8sIIQQ", b"CODELING", 1, 2, 3, 4567)
    (tmp_path / "tokens" / "train.idx").write_bytes(header + b"more")
    assert run_files.num_split_tokens(tmp_path) == 4567
