from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codeling.tokenizer import encoders
from codeling.tokenizer.encoders import (
    Encoded,
    Encoder,
    choose_encoder,
    fastokens_encoder,
    find_difference,
    reference_encoder,
    spread_sample,
)
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

ODD = " \t\n\r\f\v\x00\x1c\x85\u00a0\u2028aB1_=<|>(\u00e9e\u0301\u4e2d\u0660\U0001f600\u200d\ufffd"
TEXT = st.one_of(st.text(), st.text(alphabet=ODD), st.sampled_from(SPECIAL_TOKENS))
with_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def fast_encoder(tokenizer: Tokenizer) -> Encoder:
    pytest.importorskip("fastokens")
    encoder = fastokens_encoder(tokenizer)
    assert encoder is not None
    return encoder


@with_fixture
@given(texts=st.lists(TEXT, max_size=4))
@example(texts=[])
@example(texts=["", ""])
def test_fastokens_gives_the_ids_of_tokenizers(
    tokenizer: Tokenizer, fast_encoder: Encoder, texts: list[str]
) -> None:
    ours, theirs = fast_encoder.encode(texts), reference_encoder(tokenizer).encode(texts)
    assert ours.ids.tolist() == theirs.ids.tolist()
    assert ours.offsets.tolist() == theirs.offsets.tolist()
    assert [ours.text_ids(n).tolist() for n in range(len(texts))] == tokenizer.encode_batch(texts)


def test_fastokens_is_chosen_for_python(
    tokenizer: Tokenizer, fast_encoder: Encoder, python_files: list[str]
) -> None:
    encoder, refused = choose_encoder(tokenizer, python_files)
    assert (encoder.name, refused) == ("fastokens", None)
    encoded = encoder.encode(python_files)
    assert find_difference(encoded, python_files, range(len(python_files)), tokenizer) is None


def faulty_encoder(change: str, tokenizer: Tokenizer) -> Encoder:
    """Encoder with one fault."""

    def encode(texts: Sequence[str]) -> Encoded:
        right = reference_encoder(tokenizer).encode(texts)
        if change == "fails":
            raise RuntimeError("no room")
        if change == "drops a text":
            return Encoded(right.ids, right.offsets[:-1])
        if change == "drops the last id":
            offsets = np.minimum(right.offsets, len(right.ids) - 1)
            return Encoded(right.ids[:-1], offsets)
        if change == "unknown id":
            return Encoded(np.where(right.ids == right.ids[0], 1 << 20, right.ids), right.offsets)
        # Without merges no byte is lost, but the ids differ.
        single = {token[0]: i for i, token in enumerate(tokenizer.token_bytes) if len(token) == 1}
        ids = [[single[byte] for byte in text.encode()] for text in texts]
        flat = np.array([i for each in ids for i in each], np.uint32)
        return Encoded(flat, np.cumsum([0, *map(len, ids)]))

    return Encoder("wrong", encode)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("fails", "wrong failed: no room"),
        ("drops a text", "wrong encoded"),
        ("drops the last id", "wrong loses bytes of"),
        ("unknown id", "wrong gives ids that are not in the vocabulary"),
        ("merges nothing", "wrong gives other ids than tokenizers for"),
    ],
)
def test_a_faulty_encoder_is_rejected(
    tokenizer: Tokenizer,
    python_files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    said: str,
) -> None:
    monkeypatch.setattr(
        encoders, "fastokens_encoder", lambda tokenizer: faulty_encoder(change, tokenizer)
    )
    encoder, refused = choose_encoder(tokenizer, python_files)
    assert encoder.name == "tokenizers"
    assert refused is not None
    assert refused.startswith(said)


def test_tokenizers_is_chosen_without_fastokens(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "fastokens_encoder", lambda tokenizer: None)
    encoder, refused = choose_encoder(tokenizer, ["x = 1\n"])
    assert encoder.name == "tokenizers"
    assert "not installed" in (refused or "")


@given(st.lists(st.text(max_size=40), min_size=1, max_size=60), st.integers(1, 500))
def test_spread_sample_has_about_the_wanted_size(texts: list[str], wanted: int) -> None:
    numbers = spread_sample(texts, wanted)
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(len(texts)))
    assert numbers
    assert sum(len(texts[number]) for number in numbers[:-1]) < wanted
