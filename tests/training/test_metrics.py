import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from codeling import jsonl
from codeling.dataset.loader import Loader
from codeling.dataset.tokens import TokenFile, write_tokens
from codeling.errors import StorageError
from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.training import metrics


def validated(*arguments: Any) -> metrics.Validation:
    found = metrics.validate(*arguments)
    assert found is not None
    return found


def write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(lines), encoding="utf-8")


LINES = [json.dumps({"kind": "step", "step": n, "text": "é\n"}) + "\n" for n in range(1, 6)]


def test_lines_come_back_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert list(metrics.read(path)) == []
    added: list[dict[str, object]] = [
        {"step": 1, "loss": 2.5, "text": "é\n\u2028中"},
        {"step": 2, "loss": None},
    ]
    for values in added:
        jsonl.append(path, values)
    assert list(metrics.read(path)) == added
    assert len(path.read_text(encoding="utf-8").split("\n")) == 3


@pytest.mark.parametrize("step", range(7))
def test_lines_after_a_step_are_dropped(tmp_path: Path, step: int) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, LINES)
    metrics.keep_until(path, step)
    assert [values["step"] for values in metrics.read(path)] == list(range(1, min(step, 5) + 1))


@pytest.mark.parametrize("cut", range(0, 41, 4))
def test_a_torn_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = "".join(LINES[:3]).encode() + LINES[3].encode()[:cut]
    path.write_bytes(whole)
    assert len(list(metrics.read(path))) == 3
    metrics.keep_until(path, 10)
    jsonl.append(path, {"kind": "step", "step": 4})
    assert [values["step"] for values in metrics.read(path)] == [1, 2, 3, 4]
    assert path.read_bytes().endswith(b'"step": 4}\n')


@pytest.mark.parametrize("damage", [b"\x00" * 50, b'{"step": \xff}\n', b"\n\n", b"7\n", b"{}\n"])
def test_invalid_lines_are_dropped(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes("".join(LINES[:2]).encode() + damage)
    metrics.keep_until(path, 10)
    assert path.read_text(encoding="utf-8") == "".join(
        json.dumps(json.loads(line), ensure_ascii=False) + "\n" for line in LINES[:2]
    )


def test_a_missing_file_becomes_an_empty_one(tmp_path: Path) -> None:
    metrics.keep_until(tmp_path / "metrics.jsonl", 3)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_an_unwritable_log_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file exists where a folder is needed"):
        jsonl.append(tmp_path / "file" / "metrics.jsonl", {"step": 1})


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> GPT2:
    network = GPT2(GPT2Config(tokenizer.vocab_size, 24, 2, 2, 16))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return network


@pytest.fixture(scope="module")
def tokens(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    texts = ["def f(x):\n    return x\n", "é = '中\U0001f600'\n", "import os\n", "", "x" * 30] * 3
    return write_tokens(texts, tokenizer, tmp_path_factory.mktemp("tokens") / "validation.bin")


def brute_force(
    model: GPT2, rows: list[list[int]], tokenizer: Tokenizer
) -> tuple[float, float, int]:
    """Loss, bits per byte and number of bytes, computed token by token."""
    everything: list[float] = []
    bits, num_bytes = 0.0, 0
    for row in rows:
        with torch.no_grad():
            logits = model(torch.tensor([row[:-1]]))[0]
        for scores, target in zip(logits, row[1:], strict=True):
            nats = functional.cross_entropy(scores.double(), torch.tensor(target)).item()
            everything.append(nats)
            if target != tokenizer.end_of_text:
                bits += nats / math.log(2)
                num_bytes += len(tokenizer.token_bytes[target])
    return sum(everything) / len(everything), bits / num_bytes, num_bytes


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_bits_per_byte_equal_a_count_token_by_token(
    model: GPT2, tokens: TokenFile, tokenizer: Tokenizer, batch_size: int
) -> None:
    loader = Loader(tokens, tokenizer, 24, seed=0)
    measured = validated(model, loader, tokenizer, 8 * 24, batch_size)
    num_rows = -(-8 // batch_size) * batch_size
    rows = [row.tolist() for row, _ in islice(loader.sequences(loader.start()), num_rows)]
    loss, bits_per_byte, _ = brute_force(model, rows, tokenizer)
    assert measured.loss == pytest.approx(loss, rel=1e-5)
    assert measured.bits_per_byte == pytest.approx(bits_per_byte, rel=1e-5)


def test_a_whole_epoch_counts_every_byte_of_the_text(
    model: GPT2, tokens: TokenFile, tokenizer: Tokenizer
) -> None:
    # One row as long as the epoch: the bytes that divide are those of the texts, all of them.
    length = tokens.num_tokens + tokens.num_documents
    wide = GPT2(GPT2Config(tokenizer.vocab_size, length, 1, 1, 8))
    wide.initialize(0)
    loader = Loader(tokens, tokenizer, length, seed=0)
    measured = validated(wide, loader, tokenizer, length, 1)
    row, _ = next(loader.sequences(loader.start()))
    _, bits_per_byte, num_bytes = brute_force(wide, [row.tolist()], tokenizer)
    assert num_bytes == int(tokens.num_bytes.sum())
    assert measured.bits_per_byte == pytest.approx(bits_per_byte, rel=1e-5)


def test_measuring_twice_gives_the_same_and_changes_nothing(
    model: GPT2, tokens: TokenFile, tokenizer: Tokenizer
) -> None:
    loader = Loader(tokens, tokenizer, 24, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = validated(model, loader, tokenizer, 100, 2)
    assert validated(model, loader, tokenizer, 100, 2) == first
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_only_end_of_text_has_no_bits(tokenizer: Tokenizer, model: GPT2) -> None:
    ids = np.array([tokenizer.encode("a")[0]], dtype=np.uint16)
    alone = TokenFile(ids, np.array([0, 1], dtype=np.uint64), np.array([1], dtype=np.uint64))
    measured = validated(model, Loader(alone, tokenizer, 24, 0), tokenizer, 24, 1)
    assert math.isfinite(measured.bits_per_byte)
    assert measured.bits_per_byte > 0
