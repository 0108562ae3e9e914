import json
from pathlib import Path

import numpy as np
import pytest

from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import clock
from codeling.training.tracking.last_rows import (
    FILE_NAME,
    INTERVAL_SECONDS,
    MAX_ROWS,
    LastRows,
    pieces,
)


def test_pieces_are_the_text_and_the_special_tokens_in_order(tokenizer: Tokenizer) -> None:
    text, other = "def f(x):\n", "é🐍 <fim_prefix>"
    ids = [*tokenizer.encode(text), tokenizer.end_of_text, tokenizer.fim_prefix]
    ids += tokenizer.encode(other)
    assert pieces(ids, tokenizer) == [
        {"text": text}, {"special": "<|endoftext|>"}, {"special": "<fim_prefix>"}, {"text": other},
    ]  # fmt: skip
    assert pieces([], tokenizer) == []


def test_rows_are_written_now_and_then(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "now", lambda: now)
    rows = LastRows(tmp_path, tokenizer)
    ids = tokenizer.encode("import os\n" * 40)[:20]
    sequences = np.array([ids] * 9, np.int64)
    rows.record(1, sequences)
    rows.record(2, sequences)
    found = json.loads((tmp_path / FILE_NAME).read_bytes())
    assert (found["step"], len(found["rows"])) == (1, MAX_ROWS)
    assert found["rows"][0] == [{"text": tokenizer.decode(ids)}]
    now += INTERVAL_SECONDS
    rows.record(3, sequences)
    assert json.loads((tmp_path / FILE_NAME).read_bytes())["step"] == 3
