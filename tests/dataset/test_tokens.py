import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from codeling.dataset import tokens
from codeling.dataset.tokens import TokenFile, open_tokens, write_tokens
from codeling.errors import InputError, StorageError
from codeling.progress import SILENT
from codeling.tokenizer import encoders
from codeling.tokenizer.encoders import Encoded, Encoder, reference_encoder
from codeling.tokenizer.tokenizer import END_OF_TEXT, Tokenizer

TEXTS = ["import os\n", "", "é = '中'\n", "x" * 5000, "", "def f():\n    return '<|endoftext|>'\n"]


def texts_of(file: TokenFile, tokenizer: Tokenizer) -> list[str]:
    numbers = range(file.num_documents)
    return [tokenizer.decode(file.document(number).tolist()) for number in numbers]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(texts=st.lists(st.text(max_size=30), max_size=8), batch_bytes=st.sampled_from([1, 20, 4000]))
def test_tokens_survive_a_round_trip(
    tokenizer: Tokenizer, tmp_path: Path, texts: list[str], batch_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_BATCH_BYTES", batch_bytes)
        written = write_tokens(iter(texts), tokenizer, tmp_path / "train.bin")
    for file in (written, open_tokens(tmp_path / "train.bin")):
        assert file.num_documents == len(texts)
        assert texts_of(file, tokenizer) == texts
        assert file.num_bytes.tolist() == [len(text.encode()) for text in texts]
        assert file.ids.tolist() == [i for text in texts for i in tokenizer.encode(text)]
        assert file.num_tokens == len(file.ids)
        assert file.ids.dtype == np.uint16


def large_tokenizer() -> Tokenizer:
    """Tokenizer whose byte ids need more than 16 bits."""
    fillers = [f"filler{number}" for number in range(1 << 16)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries = [END_OF_TEXT, *fillers, *alphabet]
    core = tokenizers.Tokenizer(models.BPE({entry: i for i, entry in enumerate(entries)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([END_OF_TEXT])
    return Tokenizer(core)


def test_large_vocabularies_take_four_bytes_per_id(tmp_path: Path) -> None:
    tokenizer = large_tokenizer()
    file = write_tokens(TEXTS, tokenizer, tmp_path / "train.bin")
    assert file.ids.dtype == np.uint32
    assert file.ids.min() > 1 << 16
    assert texts_of(file, tokenizer) == TEXTS
    assert (tmp_path / "train.bin").stat().st_size == 4 * file.num_tokens


def test_file_bytes_match_the_documented_format(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_tokens(TEXTS, tokenizer, tmp_path / "train.bin")
    encoded = [tokenizer.encode(text) for text in TEXTS]
    ids = [i for document in encoded for i in document]
    assert (tmp_path / "train.bin").read_bytes() == struct.pack(f"<{len(ids)}H", *ids)
    ends = [sum(map(len, encoded[:number])) for number in range(len(TEXTS) + 1)]
    sizes = [len(text.encode()) for text in TEXTS]
    header = struct.pack("<8sIIQQ", b"CODELING", 1, 2, len(TEXTS), len(ids))
    numbers = struct.pack(f"<{2 * len(TEXTS) + 1}Q", *ends, *sizes)
    assert (tmp_path / "train.idx").read_bytes() == header + numbers


def test_files_contain_no_special_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = write_tokens(["<fim_prefix>", *TEXTS], tokenizer, tmp_path / "train.bin")
    assert not tokenizer.special_ids & set(file.ids.tolist())


def test_file_bytes_do_not_depend_on_batches(
    tokenizer: Tokenizer, python_files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, batch_bytes in (("a", 4_000_000), ("b", 1), ("c", 20_000)):
        monkeypatch.setattr(tokens, "_BATCH_BYTES", batch_bytes)
        write_tokens(python_files[:8], tokenizer, tmp_path / name / "train.bin")
    for name in ("train.bin", "train.idx"):
        first, *others = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert all(first == other for other in others)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["train.bin", "train.idx"]


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_an_empty_split_gives_a_file(
    tokenizer: Tokenizer, tmp_path: Path, texts: list[str]
) -> None:
    file = write_tokens(texts, tokenizer, tmp_path / "test.bin")
    assert (file.num_documents, file.num_tokens) == (len(texts), 0)
    assert texts_of(file, tokenizer) == texts


def poke(path: Path, offset: int, data: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(data)] = data
    path.write_bytes(whole)


HEADER_BYTES = 32
DAMAGE: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no ids": (lambda b, i: b.unlink(), "train.bin: cannot be read"),
    "no index": (lambda b, i: i.unlink(), "train.idx: cannot be read"),
    "ids cut": (lambda b, i: b.write_bytes(b.read_bytes()[:-1]), "train.bin: "),
    "ids grown": (lambda b, i: b.write_bytes(b.read_bytes() + b"00"), "train.bin: "),
    "index empty": (lambda b, i: i.write_bytes(b""), "train.idx: cut short"),
    "index cut": (lambda b, i: i.write_bytes(i.read_bytes()[:-8]), "train.idx: cut short"),
    "header cut": (lambda b, i: i.write_bytes(i.read_bytes()[:31]), "train.idx: cut short"),
    "other format": (lambda b, i: poke(i, 0, b"X"), "train.idx: not a token index"),
    "other version": (lambda b, i: poke(i, 8, b"\x02"), "train.idx: not a token index"),
    "other id size": (lambda b, i: poke(i, 12, b"\x08"), "train.idx: not a token index"),
    "wider ids": (lambda b, i: poke(i, 12, b"\x04"), "train.bin: "),
    "document count": (lambda b, i: poke(i, 16, b"\xff" * 8), "train.idx: cut short"),
    "id count": (lambda b, i: poke(i, 24, b"\xff" * 8), "train.bin: "),
    "first offset": (lambda b, i: poke(i, HEADER_BYTES, b"\x01"), "train.idx: damaged"),
    "an offset": (lambda b, i: poke(i, HEADER_BYTES + 15, b"\x01"), "train.idx: damaged"),
    "last offset": (lambda b, i: poke(i, HEADER_BYTES + 8 * 6, b"\x00"), "train.idx: damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_one_line(tokenizer: Tokenizer, tmp_path: Path, name: str) -> None:
    path = tmp_path / "train.bin"
    write_tokens(TEXTS, tokenizer, path)
    damage, message = DAMAGE[name]
    damage(path, path.with_suffix(".idx"))
    with pytest.raises(InputError) as caught:
        open_tokens(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_of_another_file_is_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_tokens(TEXTS, tokenizer, tmp_path / "a.bin")
    write_tokens(TEXTS[:3], tokenizer, tmp_path / "b.bin")
    (tmp_path / "a.idx").replace(tmp_path / "b.idx")
    with pytest.raises(InputError, match="its index says"):
        open_tokens(tmp_path / "b.bin")


def failing(texts: list[str]) -> Iterator[str]:
    """``texts``, then an error."""
    yield from texts
    raise RuntimeError("the source broke")


def test_a_failing_source_leaves_the_old_files(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    write_tokens(TEXTS, tokenizer, path)
    before = [path.read_bytes(), path.with_suffix(".idx").read_bytes()]
    with pytest.raises(RuntimeError, match="the source broke"):
        write_tokens(failing(["x = 1\n"]), tokenizer, path)
    assert [path.read_bytes(), path.with_suffix(".idx").read_bytes()] == before
    assert len(list(tmp_path.iterdir())) == 2


class Counting:
    """Counts the encoded texts."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.texts = 0
        real = encoders.reference_encoder

        def reference_encoder(tokenizer: Tokenizer) -> Encoder:
            def encode(texts: Sequence[str]) -> Encoded:
                self.texts += len(texts)
                return real(tokenizer).encode(texts)

            return Encoder("tokenizers", encode)

        patch.setattr(tokens, "reference_encoder", reference_encoder)
        patch.setattr(tokens, "_BATCH_BYTES", 1)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_finished_batches_are_not_encoded_again(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_tokens(TEXTS, tokenizer, tmp_path / "whole" / "train.bin")
    counting = Counting(monkeypatch)
    path = tmp_path / "stopped" / "train.bin"
    with pytest.raises(RuntimeError, match="the source broke"):
        write_tokens(failing(TEXTS[:4]), tokenizer, path)
    assert names(path.parent) == ["train.bin.unfinished", "train.idx.unfinished"]
    assert counting.texts == 4
    file = write_tokens(TEXTS, tokenizer, path)
    assert counting.texts == len(TEXTS)
    assert names(path.parent) == ["train.bin", "train.idx"]
    assert file.ids.tolist() == whole.ids.tolist()
    for name in names(path.parent):
        assert (path.parent / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda data, journal: data.write_bytes(data.read_bytes()[:-1]), 3),
        (lambda data, journal: data.write_bytes(b"\0" + data.read_bytes()[1:]), 0),
        (lambda data, journal: data.unlink(), 0),
        (lambda data, journal: journal.unlink(), 0),
        (lambda data, journal: journal.write_bytes(b"[1]\n" + journal.read_bytes()), 0),
        (lambda data, journal: journal.write_bytes(journal.read_bytes()[:-1]), 3),
        (lambda data, journal: journal.write_bytes(journal.read_bytes()[:-9]), 3),
        (lambda data, journal: data.write_bytes(data.read_bytes() + b"more"), 4),
    ],
)
def test_only_whole_batches_of_a_torn_file_are_kept(
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path, Path], object],
    kept: int,
) -> None:
    counting = Counting(monkeypatch)
    texts = ["import os\n", "é = '中'\n", "x" * 500, "x = 1\n", "y = 2\n"]
    path = tmp_path / "train.bin"
    with pytest.raises(RuntimeError, match="the source broke"):
        write_tokens(failing(texts[:4]), tokenizer, path)
    damage(path.with_name("train.bin.unfinished"), path.with_name("train.idx.unfinished"))
    counting.texts = 0
    file = write_tokens(texts, tokenizer, path)
    assert counting.texts == len(texts) - kept
    assert texts_of(file, tokenizer) == texts
    assert names(tmp_path) == ["train.bin", "train.idx"]


def test_batches_of_other_texts_or_another_tokenizer_are_encoded_again(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    path = tmp_path / "train.bin"
    for texts in (["a = 1\n", "c = 3\n", "b = 2\n"], ["a = 1\n"], []):
        with pytest.raises(RuntimeError, match="the source broke"):
            write_tokens(failing(["a = 1\n", "b = 2\n"]), tokenizer, path)
        assert texts_of(write_tokens(texts, tokenizer, path), tokenizer) == texts
    with pytest.raises(RuntimeError, match="the source broke"):
        write_tokens(failing(TEXTS), tokenizer, path)
    counting.texts = 0
    other = large_tokenizer()
    assert texts_of(write_tokens(TEXTS, other, path), other) == TEXTS
    assert counting.texts == len(TEXTS)


def notes_of(patch: pytest.MonkeyPatch) -> list[str]:
    """Collects the notes given to SILENT."""
    notes: list[str] = []
    patch.setattr(type(SILENT), "note", lambda self, line: notes.append(line))
    return notes


def test_a_fast_encoder_that_becomes_wrong_is_replaced(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def encode(texts: Sequence[str]) -> Encoded:
        calls.append(texts)
        right = reference_encoder(tokenizer).encode(texts)
        if len(calls) < 3:
            return right
        return Encoded(right.ids[::-1], right.offsets)

    monkeypatch.setattr(tokens, "choose_encoder", lambda t, s: (Encoder("fast", encode), None))
    monkeypatch.setattr(tokens, "_BATCH_BYTES", 1)
    monkeypatch.setattr(tokens, "_FAST_FROM_BYTES", 1)
    notes = notes_of(monkeypatch)
    file = write_tokens([f"x = {n}\n" for n in range(6)], tokenizer, tmp_path / "train.bin")
    assert texts_of(file, tokenizer) == [f"x = {n}\n" for n in range(6)]
    assert len(calls) == 3
    (note,) = notes
    assert note.startswith("encoding with tokenizers from here on: fast gives other ids")


def test_equal_texts_are_encoded_once(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["x = 1\n", "", "y = 2\n", "x = 1\n", ""]
    calls = []

    def encode(texts: Sequence[str]) -> Encoded:
        calls.append(texts)
        return reference_encoder(tokenizer).encode(texts)

    monkeypatch.setattr(tokens, "reference_encoder", lambda _: Encoder("reference", encode))
    file = write_tokens(texts, tokenizer, tmp_path / "train.bin")
    assert texts_of(file, tokenizer) == texts
    assert calls == [["x = 1\n", "", "y = 2\n"]]


def test_the_fast_encoder_writes_the_same_file(
    tokenizer: Tokenizer, python_files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastokens")
    notes = notes_of(monkeypatch)
    write_tokens(python_files, tokenizer, tmp_path / "slow" / "train.bin")
    monkeypatch.setattr(tokens, "_FAST_FROM_BYTES", 1)
    write_tokens(python_files, tokenizer, tmp_path / "fast" / "train.bin")
    for name in ("train.bin", "train.idx"):
        slow, fast = ((tmp_path / folder / name).read_bytes() for folder in ("slow", "fast"))
        assert slow == fast
    assert notes == []


def test_an_unwritable_folder_is_a_storage_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    with pytest.raises(StorageError, match="a file exists where a folder is needed"):
        write_tokens(TEXTS, tokenizer, tmp_path / "tokens" / "train.bin")
