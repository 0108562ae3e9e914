"""The ids of a part of a text are those of the part encoded alone, for every cut."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.substrings import SubstringEncoder
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

ODD = [
    "  ", " ", "\t", "\n", "\r\n", "\x0b", "\x1c", "\x85", "\xa0", "\u3000", "é", "中", "👍", "a",
    "b7", "'s", "=", ")", ".", "self", "<|endoftext|>", "'", "’",
]  # fmt: skip


@pytest.fixture(scope="module", params=["gpt2", "python"])
def cut(request: pytest.FixtureRequest, python_files: list[str]) -> Tokenizer:
    return train(python_files, TokenizerRecipe(vocab_size=900, cut=request.param))


def test_parts_of_real_files_encode_as_alone(cut: Tokenizer, python_files: list[str]) -> None:
    parts, draws, shared = SubstringEncoder(cut), random.Random(0), 0
    for text in python_files[:8]:
        whole = np.array(cut.encode(text), dtype=np.uint16)
        # A stretch of a document begins and ends between any two tokens.
        for _ in range(40):
            first, stop = sorted(draws.sample(range(len(whole)), 2))
            stretch = whole[first:stop]
            inner = cut.decode_bytes(stretch.tolist()).decode(errors="ignore")
            if inner.encode() != cut.decode_bytes(stretch.tolist()):
                continue
            begin, end = sorted(draws.choices(range(len(inner) + 1), k=2))
            assert parts.encoder(inner, stretch)(begin, end) == cut.encode(inner[begin:end])
            shared += end - begin > 100
    assert shared > 100


def test_only_the_ends_are_encoded_again(
    cut: Tokenizer, python_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = python_files[-1]
    ids, encode = np.array(cut.encode(text), dtype=np.uint16), cut.encode
    encoded: list[str] = []

    def remembered(part: str) -> list[int]:
        encoded.append(part)
        return encode(part)

    monkeypatch.setattr(cut, "encode", remembered)
    assert SubstringEncoder(cut).encoder(text, ids)(1000, 9000) == encode(text[1000:9000])
    assert sum(map(len, encoded)) < 200


@settings(max_examples=100)
@given(pieces=st.lists(st.sampled_from(ODD), max_size=30), data=st.data())
def test_parts_of_odd_texts_encode_as_alone(
    cut: Tokenizer, pieces: list[str], data: st.DataObject
) -> None:
    text = "".join(pieces)
    part = SubstringEncoder(cut).encoder(text, np.array(cut.encode(text), dtype=np.uint16))
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    assert part(begin, end) == cut.encode(text[begin:end])


def test_entries_with_inner_spaces_leave_no_safe_boundaries() -> None:
    import tokenizers

    merges = [("a", "Ġ"), ("aĠ", "b")]
    vocabulary = {"<|endoftext|>": 0, "a": 1, "b": 2, "Ġ": 3, "aĠ": 4, "aĠb": 5}
    core = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([])
    core.decoder = tokenizers.decoders.ByteLevel()
    core.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(False, use_regex=False)
    core.add_special_tokens(["<|endoftext|>"])
    wide = Tokenizer(core)
    text = "a ba b"
    assert wide.encode(text) == [5, 5]
    part = SubstringEncoder(wide).encoder(text, np.array(wide.encode(text)))
    assert part(0, 5) == wide.encode("a ba ") == [5, 4]
