import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from codeling.recipe import PreTokenizerName
from codeling.tokenizer.pretokenizer import byte_decoder, cut, pre_tokenizer_named
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS

CUTS: list[PreTokenizerName] = ["gpt2", "python"]
ODD = " \t\n\r\f\v\x00\x1c\x85\u00a0\u2028\u3000aB1_=<|(\u00e9e\u0301\u4e2d\u0660\U0001f600\u200d"
TEXT = st.one_of(st.text(), st.text(alphabet=ODD), st.text(alphabet=" \t\n\rx=("))


@pytest.mark.parametrize("name", CUTS)
@given(TEXT)
@example("")
@example("\x00\r\n\t x\r\r\n")
@example("\U0001f469\u200d\U0001f4bb e\u0301 \u0300")
def test_joined_pieces_are_the_text(name: PreTokenizerName, text: str) -> None:
    pieces = cut(text, name)
    assert "".join(pieces) == text
    assert all(pieces)


@pytest.mark.parametrize("name", CUTS)
def test_joined_pieces_of_real_files_are_the_files(
    name: PreTokenizerName, python_files: list[str]
) -> None:
    for text in python_files:
        assert "".join(cut(text, name)) == text


@pytest.mark.parametrize(
    "text, gpt2, python",
    [
        ("import os\n", "import│ os│\n", "import│ os│\n"),
        ("    return x", "   │ return│ x", "    │return│ x"),
        ("\tif x:\n\t\ty", "\t│if│ x│:│\n\t│\t│y", "\t│if│ x│:│\n│\t\t│y"),
        ("def f(x):\n\n    y", "def│ f│(│x│):│\n\n   │ y", "def│ f│(│x│):│\n\n│    │y"),
        ("snake_case_2", "snake│_│case│_│2", "snake│_│case│_│2"),
        ("x == 12345.0\n", "x│ ==│ 12345│.│0│\n", "x│ ==│ │123│45│.│0│\n"),
        ("a  \n  b", "a│  \n │ b", "a│  │\n│  │b"),
        ("a \r\n b", "a│ \r\n│ b", "a│ \r\n│ b"),
        ("a,  # b", "a│,│ │ #│ b", "a│,│  │#│ b"),
        ("it's", "it│'s", "it│'│s"),
        ("Http.__init__(self)", "Http│.__│init│__(│self│)", "Http│.__│init│__(│self│)"),
        ("a**b // c -> d := e", "a│**│b│ //│ c│ ->│ d│ :=│ e", "a│**│b│ //│ c│ ->│ d│ :=│ e"),
        ("0xFF_00 1e-5j", "0│xFF│_│00│ 1│e│-│5│j", "0│xFF│_│00│ │1│e│-│5│j"),
        ('f"{self.name}"', 'f│"{│self│.│name│}"', 'f│"{│self│.│name│}"'),
        ('"""Doc."""', '"""│Doc│."""', '"""│Doc│."""'),
        ("@property\ndef", "@│property│\n│def", "@│property│\n│def"),
        ("<|endoftext|>", "<|│endoftext│|>", "<|│endoftext│|>"),
        ("é e\u0301 中文", "é│ e│\u0301│ 中文", "é│ e│\u0301│ 中文"),
    ],
)  # fmt: skip
def test_cuts_of_examples(text: str, gpt2: str, python: str) -> None:
    assert "│".join(cut(text)) == gpt2
    assert "│".join(cut(text, "python")) == python


def code_starts(text: str) -> list[int]:
    """Offset of each line's code, after its indentation of spaces and tabs."""
    return [match.end() for match in re.finditer(r"(?m)^[ \t]*(?=[^\s])", text)]


def line_starts(text: str) -> list[int]:
    """Offset of each line that is not blank."""
    return [match.start() for match in re.finditer(r"(?m)^(?=[ \t]*[^\s])", text)]


def assert_prompts_are_cut_as_the_file(text: str, ends: list[int]) -> None:
    """Checks that a prompt ending at each of ``ends`` has the first pieces of the whole."""
    pieces = cut(text, "python")
    for end in ends:
        prompt = cut(text[:end], "python")
        assert prompt == pieces[: len(prompt)], (text[max(0, end - 40) : end + 40], end)


def test_prompts_after_a_newline_or_indentation_are_cut_as_the_file(
    python_files: list[str],
) -> None:
    # Two prompts per line of code: one ends before the line, one after its indentation if that
    # is empty or has two or more spaces or tabs.
    seen = 0
    for text in python_files[2::2]:
        text = text[: 15_000 + text[15_000:].find("\n")]
        starts, codes = line_starts(text), code_starts(text)
        assert len(starts) == len(codes) > 0
        ends = [code for start, code in zip(starts, codes, strict=True) if code - start != 1]
        seen += len(ends)
        # Ten lines at a time: cutting everything before each prompt is slow.
        for at in range(0, len(starts), 10):
            begin = starts[at]
            chunk = text[begin : starts[at + 10] if at + 10 < len(starts) else None]
            here = [e - begin for e in (*starts, *ends) if begin <= e <= begin + len(chunk)]
            assert_prompts_are_cut_as_the_file(chunk, here)
        some = [starts[len(starts) // 2], ends[-1]]
        assert_prompts_are_cut_as_the_file(text, some)
    assert seen > 1_500


LINE = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "  ", "    ", "\t\t", " \t"]),
    st.text(alphabet="xé1_=(:#\t ", max_size=8).map(lambda s: "x" + s),
    st.sampled_from(["\n", "\r\n", "\n\n", "\n   \n", " \n", ":\n"]),
)


@given(st.lists(LINE, min_size=1, max_size=6).map("".join))
def test_generated_prompts_after_a_newline_or_indentation_are_cut_as_the_whole(text: str) -> None:
    assert_prompts_are_cut_as_the_file(text, line_starts(text) + code_starts(text))


def test_exceptions_to_the_prompt_law() -> None:
    # A newline before a blank line joins it in one piece; a single space joins the next word.
    assert cut("x:\n\ny", "python") == ["x", ":", "\n\n", "y"]
    assert cut("x\n y", "python") == ["x", "\n", " y"]


@pytest.mark.parametrize("name", CUTS)
@given(st.text(alphabet="<|>fim_prefxsuddlao\n ", max_size=20), st.sampled_from(SPECIAL_TOKENS))
def test_pieces_never_contain_the_text_of_a_special_token(
    name: PreTokenizerName, text: str, token: str
) -> None:
    # So no merge can form one, whatever the training text.
    assert not any(token in piece for piece in cut(text + token + text, name))


@pytest.mark.parametrize("name", CUTS)
@given(TEXT)
def test_cuts_survive_saving_to_a_standard_file(name: PreTokenizerName, text: str) -> None:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizer_named(name)
    core.decoder = byte_decoder()
    stored = json.loads(core.to_str())["pre_tokenizer"]
    kinds = [step["type"] for step in stored.get("pretokenizers", [stored])]
    assert kinds == {"gpt2": ["ByteLevel"], "python": ["Split", "ByteLevel"]}[name]
    again = Tokenizer.from_str(core.to_str())
    pieces = [piece for piece, _ in again.pre_tokenizer.pre_tokenize_str(text)]
    assert [again.decoder.decode([piece]) for piece in pieces] == cut(text, name)
