import json
import random
import re
import struct
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codeling.dataset import loader as loader_module
from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import SECTION_CONTEXTS, Loader, Mixture, Position
from codeling.dataset.tokens import TokenFile, open_tokens
from codeling.errors import CorpusError
from codeling.tokenizer.tokenizer import Tokenizer

WINDOW = 7
DOCUMENTS = st.lists(st.lists(st.integers(5, 400), max_size=40), min_size=1, max_size=8).filter(any)
few = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "WINDOW_ROWS", WINDOW)


def tokens_of(documents: list[list[int]]) -> TokenFile:
    ids = np.array([i for document in documents for i in document], dtype=np.uint16)
    ends = np.cumsum([0, *map(len, documents)]).astype(np.uint64)
    return TokenFile(ids, ends, np.zeros(len(documents), dtype=np.uint64))


def sections(documents: list[list[int]], context: int) -> list[tuple[int, ...]]:
    """Every document in stretches of four contexts; an empty one is one empty stretch."""
    size = SECTION_CONTEXTS * context
    return [
        tuple(document[at : at + size])
        for document in documents
        for at in range(0, max(1, len(document)), size)
    ]


def targets(loader: Loader) -> Iterator[int]:
    """Every id that is predicted, one row after another."""
    for row, _ in loader.rows(loader.start()):
        yield from row[1:].tolist()


def split(ids: list[int], end: int) -> list[tuple[int, ...]]:
    """What stands between one ``end`` and the next; nothing may stand behind the last."""
    found: list[list[int]] = [[]]
    for i in ids:
        if i == end:
            found.append([])
        else:
            found[-1].append(i)
    assert found.pop() == []
    return [tuple(piece) for piece in found]


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9), seed=st.integers(0, 5))
def test_an_epoch_predicts_every_id_once_and_the_end_of_each_section(
    tokenizer: Tokenizer, documents: list[list[int]], context: int, seed: int
) -> None:
    # Nothing is dropped, as the remainder of every thousand documents is elsewhere, and every
    # section has its <|endoftext|>, which is a target like any other.
    expected = Counter(sections(documents, context))
    length = sum(len(section) + 1 for section in expected.elements())
    stream = targets(Loader(tokens_of(documents), tokenizer, context, seed))
    orders = []
    for _ in range(3):
        found = split(list(islice(stream, length)), tokenizer.end_of_text)
        assert Counter(found) == expected
        orders.append(found)
    again = targets(Loader(tokens_of(documents), tokenizer, context, seed))
    assert split(list(islice(again, length)), tokenizer.end_of_text) == orders[0]


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9))
def test_rows_overlap_by_one_id_and_have_one_more_than_the_context(
    tokenizer: Tokenizer, documents: list[list[int]], context: int
) -> None:
    infilling = Infilling(0.5, 0.5, 0)
    loader = Loader(tokens_of(documents), tokenizer, context, 0, infilling)
    rows = list(islice(loader.rows(loader.start()), 20))
    assert rows[0][0][0] == tokenizer.end_of_text
    for (row, position), (following, _) in pairwise(rows):
        assert row.shape == (context + 1,)
        assert row.dtype == np.int64
        assert row[-1] == following[0] == position.carried


@pytest.mark.parametrize(
    "documents", [[[5] * 3], [[], [7], []], [[5, 6]] * 1001, [[*range(5, 505)] * 9]], ids=len
)
def test_tiny_and_huge_documents_are_whole(
    tokenizer: Tokenizer, documents: list[list[int]]
) -> None:
    expected = Counter(sections(documents, 16))
    length = sum(len(section) + 1 for section in expected.elements())
    stream = targets(Loader(tokens_of(documents), tokenizer, 16, seed=0))
    assert Counter(split(list(islice(stream, length)), tokenizer.end_of_text)) == expected


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9), seed=st.integers(0, 5))
def test_best_fit_is_another_order_of_the_same_sections(
    tokenizer: Tokenizer, documents: list[list[int]], context: int, seed: int
) -> None:
    expected = Counter(sections(documents, context))
    length = sum(len(section) + 1 for section in expected.elements())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader_module, "CHUNK_SECTIONS", 5)
        loader = Loader(tokens_of(documents), tokenizer, context, seed, best_fit=True)
        stream = targets(loader)
        for _ in range(3):
            found = split(list(islice(stream, length)), tokenizer.end_of_text)
            assert Counter(found) == expected
        # From any position on the same, by a loader that has seen nothing of what was before.
        whole = list(islice(loader.rows(loader.start()), 12))
        for number in (2, 7):
            fresh = Loader(tokens_of(documents), tokenizer, context, seed, best_fit=True)
            for (row, _), (again, _) in zip(
                whole[number + 1 :], fresh.rows(whole[number][1]), strict=False
            ):
                assert np.array_equal(row, again)


def test_best_fit_cuts_fewer_documents(tokenizer: Tokenizer) -> None:
    generator = random.Random(0)
    documents = [[5 + n % 400] * generator.randrange(1, 60) for n in range(3000)]

    def num_cut(best_fit: bool) -> int:
        loader = Loader(tokens_of(documents), tokenizer, 64, 0, best_fit=best_fit)
        rows = islice(loader.rows(loader.start()), 1500)
        return sum(int(row[-1]) != tokenizer.end_of_text for row, _ in rows)

    assert num_cut(best_fit=True) < num_cut(best_fit=False) / 10


def test_seeds_and_epochs_have_orders_of_their_own(tokenizer: Tokenizer) -> None:
    documents = [[5 + number] for number in range(30)]
    orders = set()
    for seed in range(4):
        stream = targets(Loader(tokens_of(documents), tokenizer, 8, seed))
        for _ in range(4):
            orders.add(tuple(split(list(islice(stream, 60)), tokenizer.end_of_text)))
    assert len(orders) == 16
    assert all(order != tuple((5 + number,) for number in range(30)) for order in orders)


def undone(ids: tuple[int, ...], t: Tokenizer) -> bytes:
    """The text of a piece: ids as they stand, then perhaps a stretch that was rearranged."""
    if t.fim_prefix not in ids:
        return t.decode_bytes(ids)
    start, suffix, middle = (ids.index(i) for i in (t.fim_prefix, t.fim_suffix, t.fim_middle))
    assert start < suffix < middle
    assert sum(i in t.special_ids for i in ids) == 3
    parts = ids[:start], ids[start + 1 : suffix], ids[middle + 1 :], ids[suffix + 1 : middle]
    return b"".join(t.decode_bytes(part) for part in parts)


def pieces(
    documents: list[list[int]], t: Tokenizer, context: int, rate: float, num_rows: int
) -> list[tuple[int, ...]]:
    """The whole pieces in the first rows."""
    loader = Loader(tokens_of(documents), t, context, 0, Infilling(rate, 0.5, 0))
    ids = list(islice(targets(loader), num_rows * context))
    return split(ids[: len(ids) - ids[::-1].index(t.end_of_text)], t.end_of_text)


@pytest.mark.parametrize("rate", [0.5, 1.0])
@pytest.mark.parametrize("context", [40, 64, 150])
def test_undoing_the_infilling_gives_every_byte_once(
    tokenizer: Tokenizer, python_files: list[str], context: int, rate: float
) -> None:
    texts = [*python_files[:3], "", "x", "é中\U0001f600" * 200, "import os\n", "\U0001f600"]
    documents = tokenizer.encode_batch(texts)
    num_tokens = sum(map(len, documents))
    num_rows = 2 * num_tokens // context  # well into the second epoch
    longer = pieces(documents, tokenizer, context, 0.0, num_rows + 4 * SECTION_CONTEXTS)
    plain = [undone(piece, tokenizer) for piece in longer]
    rearranged = pieces(documents, tokenizer, context, rate, num_rows)
    restored = [undone(piece, tokenizer) for piece in rearranged]
    text = b"".join(restored)
    assert num_tokens > 3000
    assert len(text) > 1.2 * len("".join(texts).encode())
    assert b"".join(plain).startswith(text)

    # Every section still ends in <|endoftext|>, whatever pieces it was cut into.
    def ends(found: list[bytes]) -> Counter[int]:
        return Counter(accumulate(map(len, found)))

    for end, count in ends(plain).items():
        assert end >= len(text) or ends(restored)[end] >= count
    share = sum(tokenizer.fim_prefix in piece for piece in rearranged) / len(rearranged)
    assert share > (0.6 if rate == 1.0 else 0.05)


def test_a_rearranged_piece_stands_within_one_row(
    tokenizer: Tokenizer, python_files: list[str]
) -> None:
    # A marker whose partners are in another row teaches nothing.
    documents = tokenizer.encode_batch(python_files[:4])
    loader = Loader(tokens_of(documents), tokenizer, 64, 0, Infilling(1.0, 0.5, 0))
    markers = (tokenizer.fim_prefix, tokenizer.fim_suffix, tokenizer.fim_middle)
    seen = 0
    for row, _ in islice(loader.rows(loader.start()), 100):
        ids = row[1:].tolist()
        counts = [ids.count(marker) for marker in markers]
        assert counts[0] == counts[1] == counts[2]
        seen += counts[0]
        if counts[0]:
            assert tokenizer.end_of_text in ids[ids.index(tokenizer.fim_middle) :]
    assert seen >= 80


def test_a_rate_of_zero_is_no_infilling(tokenizer: Tokenizer, python_files: list[str]) -> None:
    tokens = tokens_of(tokenizer.encode_batch(python_files[:3]))
    plain = targets(Loader(tokens, tokenizer, 32, 4))
    without = targets(Loader(tokens, tokenizer, 32, 4, Infilling(0.0, 0.5, 4)))
    assert list(islice(plain, 2000)) == list(islice(without, 2000))


# Going on from a position.


@pytest.mark.parametrize("kind", ["rows", "shuffled_rows"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_from_any_saved_position_on_the_rows_are_those_not_interrupted(
    tokenizer: Tokenizer, python_files: list[str], kind: str, rate: float
) -> None:
    texts = [*python_files[:2], "", "é" * 300, "x"]
    tokens = tokens_of(tokenizer.encode_batch(texts))

    def new() -> Loader:
        return Loader(tokens, tokenizer, 48, 9, Infilling(rate, 0.5, 9))

    num_rows = 2 * tokens.num_tokens // 48
    whole = list(islice(getattr(new(), kind)(new().start()), num_rows))
    assert whole[-1][1].epoch >= 1
    for stop in random.Random(0).sample(range(num_rows - 20), 25):
        position = Position(**json.loads(json.dumps(whole[stop][1].to_json())))
        assert position == whole[stop][1]
        rest = islice(getattr(new(), kind)(position), 20)
        for (row, after), (expected, expected_after) in zip(rest, whole[stop + 1 :], strict=False):
            assert np.array_equal(row, expected)
            assert after == expected_after


@few
@given(documents=DOCUMENTS, context=st.integers(1, 9), seed=st.integers(0, 3))
def test_shuffled_rows_are_the_rows_of_their_window(
    tokenizer: Tokenizer, documents: list[list[int]], context: int, seed: int
) -> None:
    loader = Loader(tokens_of(documents), tokenizer, context, seed)
    plain = list(islice(loader.rows(loader.start()), 3 * WINDOW))
    shuffled = list(islice(loader.shuffled_rows(loader.start()), 3 * WINDOW))
    for begin in range(0, 3 * WINDOW, WINDOW):
        window = slice(begin, begin + WINDOW)
        assert sorted(row.tolist() for row, _ in shuffled[window]) == sorted(
            row.tolist() for row, _ in plain[window]
        )
        assert shuffled[window][-1][1] == plain[window][-1][1]


def test_windows_have_orders_of_their_own(tokenizer: Tokenizer) -> None:
    tokens = tokens_of([[5 + number % 400] * 8 for number in range(300)])
    orders = set()
    for seed in range(3):
        loader = Loader(tokens, tokenizer, 9, seed)
        plain = list(islice(loader.rows(loader.start()), 10 * WINDOW))
        shuffled = list(islice(loader.shuffled_rows(loader.start()), 10 * WINDOW))
        for begin in range(0, 10 * WINDOW, WINDOW):
            place = {
                row.tobytes(): number for number, (row, _) in enumerate(plain[begin:][:WINDOW])
            }
            assert len(place) == WINDOW
            orders.add(tuple(place[row.tobytes()] for row, _ in shuffled[begin:][:WINDOW]))
    assert len(orders) >= 28


BEGINS = re.compile(r"[ \t]*(?:(?:def|class|async)\b|@)")


def test_sections_of_code_begin_at_definitions_and_hold_all_of_it(
    tokenizer: Tokenizer, python_files: list[str]
) -> None:
    context = 16
    size = SECTION_CONTEXTS * context
    snapped = 0
    for text in python_files[:6]:
        document = tokenizer.encode(text)
        loader = Loader(tokens_of([document]), tokenizer, context, seed=0)
        numbers = np.arange(len(sections([document], context)), dtype=np.int64)
        _, begins, starts, lengths = (found.tolist() for found in loader._spans(numbers))
        assert begins == starts  # there is one document
        pieces = [
            (at, np.array(document[at : at + n])) for at, n in zip(begins, lengths, strict=True)
        ]
        assert [i for _, ids in pieces for i in ids.tolist()] == document
        for number, (begin, ids) in enumerate(pieces[1:], 1):
            before, own = tokenizer.decode(document[:begin]), tokenizer.decode(ids.tolist())
            assert 0 <= begin - number * size < size
            if begin == number * size and not (before.endswith("\n") and BEGINS.match(own)):
                continue  # no definition was near
            assert before.endswith("\n")
            assert BEGINS.match(own)
            passed = tokenizer.decode(document[number * size - 1 : begin]).splitlines(True)
            # "async" is several ids in this small vocabulary, and then it is not looked for.
            begun = [line for line in passed[1:] if BEGINS.match(line)]
            assert [line for line in begun if "async" not in line] == []
            snapped += 1
    assert snapped > 20


def test_a_run_shorter_than_the_corpus_reads_its_repositories_in_balance(
    tokenizer: Tokenizer,
) -> None:
    documents = [[5 + number % 400] * 7 for number in range(1000)]
    owners = np.repeat([0, 1], [900, 100])
    mixture = Mixture(owners, tokens=800, exponent=0.0)
    plain = targets(Loader(tokens_of(documents), tokenizer, 8, 3))
    stream = targets(Loader(tokens_of(documents), tokenizer, 8, 3, mixture=mixture))
    first = list(islice(stream, 800))
    of_small = {tuple(document) for document in documents[900:]}
    pieces = split(first, tokenizer.end_of_text)
    assert 0.4 < sum(piece in of_small for piece in pieces) / len(pieces) < 0.75
    rest = list(islice(stream, 7200))
    assert Counter(first + rest) == Counter(islice(plain, 8000))  # all of it, once
    assert Counter(islice(stream, 8000)) == Counter(first + rest)  # and then all of it again


@pytest.mark.parametrize("documents", [[], [[]], [[], [], []]])
def test_nothing_to_read_is_an_empty_corpus(
    tokenizer: Tokenizer, documents: list[list[int]]
) -> None:
    with pytest.raises(CorpusError, match="the split is empty"):
        Loader(tokens_of(documents), tokenizer, 8, 0)


# Large corpora.


def digests(ids: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for each stretch of ``ids`` from one of ``starts`` to the next, in sorted order."""
    lengths = np.diff([*starts, len(ids)])
    place = np.arange(len(ids)) - np.repeat(starts, lengths)
    multipliers = np.random.default_rng(0).integers(1, 2**63, size=int(lengths.max()), dtype="u8")
    terms = ids.astype("u8") * multipliers[place]
    return np.sort(np.add.reduceat(terms, starts))


def test_of_a_million_documents_every_token_is_predicted_once_an_epoch(
    tokenizer: Tokenizer,
) -> None:
    context, end = 128, tokenizer.end_of_text
    draws = np.random.default_rng(1)
    lengths = draws.integers(0, 6, size=1_000_000)
    lengths[draws.integers(0, 1_000_000, size=8)] = 100_000
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # No line ends, so that sections are cut where they would be without definitions.
    plain = [i for i in range(5, 500) if not tokenizer.token_bytes[i].endswith(b"\n")]
    ids = draws.choice(np.array(plain, dtype=np.uint16), size=int(offsets[-1]))
    tokens = TokenFile(ids, offsets.astype(np.uint64), lengths.astype(np.uint64))
    size = SECTION_CONTEXTS * context
    counts = np.maximum(1, -(-lengths // size))
    total = len(ids) + int(counts.sum())
    # What has to come: every section, and an end behind each.
    ends_after = np.concatenate(
        [offsets[1:], *(np.arange(offsets[d] + size, offsets[d + 1], size)
                        for d in np.flatnonzero(counts > 1))]
    )  # fmt: skip
    expected = np.insert(ids.astype(np.int64), np.sort(ends_after), end)
    assert len(expected) == total
    for epoch in range(2):
        loader = Loader(tokens, tokenizer, context, seed=3)
        rows = loader.rows(Position(epoch, 0, 0, end))
        found = np.concatenate([row[1:] for row, _ in islice(rows, -(-total // context))])[:total]
        assert np.array_equal(np.bincount(found), np.bincount(expected))
        begin = [
            np.concatenate([[0], np.flatnonzero(x == end)[:-1] + 1]) for x in (found, expected)
        ]
        assert np.array_equal(digests(found, begin[0]), digests(expected, begin[1]))
        assert not np.array_equal(found, expected)


def anonymous_memory() -> int:
    """Bytes of this process that no file holds too."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_large_corpus_takes_little_memory(tokenizer: Tokenizer, tmp_path: Path) -> None:
    # 4 GB of tokens, none of them written: holes in the file are zeros.
    num_documents, num_ids = 2_000_000, 2_000_000_000
    offsets = np.linspace(0, num_ids, num_documents + 1).astype("<u8")
    header = struct.pack("<8sIIQQ", b"CODELING", 1, 2, num_documents, num_ids)
    (tmp_path / "train.idx").write_bytes(header + offsets.tobytes() + bytes(8 * num_documents))
    with (tmp_path / "train.bin").open("wb") as file:
        file.truncate(2 * num_ids)
    del offsets
    before = anonymous_memory()
    loader = Loader(open_tokens(tmp_path / "train.bin"), tokenizer, 256, 0)
    (row, position), *_ = islice(loader.shuffled_rows(loader.start()), 20)
    assert row[0] in (0, tokenizer.end_of_text)
    assert position.drawn == 1
    assert anonymous_memory() - before < 200_000_000
