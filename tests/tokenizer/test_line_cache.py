import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from codeling.recipe import TokenizerRecipe
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


def test_a_pre_tokenizer_that_may_join_lines_is_not_cut(tokenizer: Tokenizer) -> None:
    core = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    assert is_cut(core)
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert not is_cut(core)
    assert Tokenizer(core).encode_typed("a\nb") == Tokenizer(core).encode("a\nb")


_SAMPLE = ["def a(b):\n\n    return 1\n\n\na(b) \n  # x\n\t'a'\r\n" * 9]
_GPT2 = train(_SAMPLE, TokenizerRecipe(vocab_size=300))
_PYTHON = train(_SAMPLE, TokenizerRecipe(vocab_size=300, cut="python"))
