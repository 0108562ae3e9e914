import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from codeling.recipe import TokenizerRecipe
from codeling.tokenizer import encoders
from codeling.tokenizer.encoders import Encoded, Encoder, speed_up_typing
from codeling.tokenizer.line_cache import is_cut
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

TEXTS = st.text(st.sampled_from("ab1_):' \t\n\r\x0b\x0c\x1c\x85\xa0\u3000é€😀"), max_size=40)


def test_a_typed_text_has_the_ids_of_the_whole_text(
    tokenizer: Tokenizer, python_files: list[str]
) -> None:
    for text in python_files:
        assert tokenizer.encode_typed(text) == tokenizer.encode(text)
        windows = text.replace("\n", "\r\n")
        assert tokenizer.encode_typed(windows) == tokenizer.encode(windows)


@given(TEXTS)
def test_line_ends_of_any_kind_change_nothing(text: str) -> None:
    for cut in (_GPT2, _PYTHON):
        assert cut.encode_typed(text) == cut.encode(text)


@pytest.fixture(scope="module")
def fast() -> list[Tokenizer]:
    """The tokenizers of this module, with fastokens for what is typed."""
    pytest.importorskip("fastokens")
    copies = [Tokenizer(tokenizers.Tokenizer.from_str(each.to_json())) for each in (_GPT2, _PYTHON)]
    assert [speed_up_typing(each) for each in copies] == [True, True]
    return copies


@given(TEXTS)
def test_fastokens_gives_the_same_ids_of_what_is_typed(fast: list[Tokenizer], text: str) -> None:
    for cut in fast:
        assert cut.encode_typed(text) == cut.encode(text)


def test_a_long_line_is_encoded_like_any_text(fast: list[Tokenizer]) -> None:
    for cut in fast:
        text = "x = [\n" + "1, " * 5_000 + "\n]\n"
        assert cut.encode_typed(text) == cut.encode(text)


def test_an_encoder_with_other_ids_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Encoder(
        "wrong", lambda texts: Encoded(np.zeros(len(texts), np.uint32), np.arange(len(texts) + 1))
    )
    monkeypatch.setattr(encoders, "fastokens_encoder", lambda tokenizer: wrong)
    copy = Tokenizer(tokenizers.Tokenizer.from_str(_GPT2.to_json()))
    assert not speed_up_typing(copy)
    assert copy.encode_typed("a\nb") == copy.encode("a\nb")


def test_a_pre_tokenizer_that_may_join_lines_is_not_cut(tokenizer: Tokenizer) -> None:
    core = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    assert is_cut(core)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert not is_cut(core)
    assert Tokenizer(core).encode_typed("a\nb") == Tokenizer(core).encode("a\nb")


_SAMPLE = ["def a(b):\n\n    return 1\n\n\na(b) \n  # x\n\t'a'\r\n" * 9]
_GPT2 = train(_SAMPLE, TokenizerRecipe(vocab_size=300))
_PYTHON = train(_SAMPLE, TokenizerRecipe(vocab_size=300, cut="python"))
