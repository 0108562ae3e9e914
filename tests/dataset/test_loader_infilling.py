"""Sequences with infilling: no byte is lost, and rearranged pieces stay whole."""

from collections import Counter
from itertools import accumulate, islice

import pytest

from codeling.dataset.infilling import Infilling
from codeling.dataset.loader import Loader
from codeling.tokenizer.tokenizer import Tokenizer

from .reading import split, targets, tokens_of

pytestmark = pytest.mark.usefixtures("small_windows")


def undone(ids: tuple[int, ...], t: Tokenizer) -> bytes:
    """Text of a piece: plain ids, then optionally a rearranged part."""
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
    """Whole pieces of the first sequences."""
    loader = Loader(tokens_of(documents), t, context, 0, Infilling(rate, 0.5, 0))
    ids = list(islice(targets(loader), num_rows * context))
    return split(ids[: len(ids) - ids[::-1].index(t.end_of_text)], t.end_of_text)


@pytest.mark.parametrize("rate", [0.5, 1.0])
@pytest.mark.parametrize("context", [40, 64, 150])
def test_undoing_infilling_gives_every_byte_once(
    tokenizer: Tokenizer, python_files: list[str], context: int, rate: float
) -> None:
    texts = [*python_files[:3], "", "x", "é中\U0001f600" * 200, "import os\n", "\U0001f600"]
    documents = tokenizer.encode_batch(texts)
    num_tokens = sum(map(len, documents))
    num_rows = 2 * num_tokens // context  # into the second epoch
    longer = pieces(documents, tokenizer, context, 0.0, num_rows + 4)
    plain = [undone(piece, tokenizer) for piece in longer]
    rearranged = pieces(documents, tokenizer, context, rate, num_rows)
    restored = [undone(piece, tokenizer) for piece in rearranged]
    text = b"".join(restored)
    assert num_tokens > 3000
    assert len(text) > 1.2 * len("".join(texts).encode())
    assert b"".join(plain).startswith(text)

    # Every chunk still ends in <|endoftext|>, however it was cut into pieces.
    def ends(found: list[bytes]) -> Counter[int]:
        return Counter(accumulate(map(len, found)))

    for end, count in ends(plain).items():
        assert end >= len(text) or ends(restored)[end] >= count
    share = sum(tokenizer.fim_prefix in piece for piece in rearranged) / len(rearranged)
    assert share > (0.6 if rate == 1.0 else 0.05)


def test_a_rearranged_piece_stays_within_one_sequence(
    tokenizer: Tokenizer, python_files: list[str]
) -> None:
    # A marker without its partners in the same sequence teaches nothing.
    documents = tokenizer.encode_batch(python_files[:4])
    loader = Loader(tokens_of(documents), tokenizer, 64, 0, Infilling(1.0, 0.5, 0))
    markers = (tokenizer.fim_prefix, tokenizer.fim_suffix, tokenizer.fim_middle)
    seen = 0
    for row, _ in islice(loader.sequences(loader.start()), 100):
        ids = row[1:].tolist()
        counts = [ids.count(marker) for marker in markers]
        assert counts[0] == counts[1] == counts[2]
        seen += counts[0]
        if counts[0]:
            assert tokenizer.end_of_text in ids[ids.index(tokenizer.fim_middle) :]
    assert seen >= 80


def test_a_rate_of_zero_disables_infilling(tokenizer: Tokenizer, python_files: list[str]) -> None:
    tokens = tokens_of(tokenizer.encode_batch(python_files[:3]))
    plain = targets(Loader(tokens, tokenizer, 32, 4))
    without = targets(Loader(tokens, tokenizer, 32, 4, Infilling(0.0, 0.5, 4)))
    assert list(islice(plain, 2000)) == list(islice(without, 2000))
