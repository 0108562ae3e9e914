import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeling.corpus.decontamination.token_hashes import (
    hash_tokens,
    hash_words,
    word_hash,
)

REFORMATTED = [
    ("x = f(a, b)", "x = f(\n    a,\n    b,\n)  # both"),
    ("return (res)", "return res"),
    ("x = 'it''s'", 'x = "it" "s"'),
    ("if (a and\n    b): pass", "if a and b:\n    pass"),
    ("a = 1; b = 2", "a = 1\nb = 2"),
    ("x = a + \\\n    b", "x = a + b"),
    (r"re.compile(r'\d+')", r're.compile("\\d+")'),
    ("u'text'", '"text"'),
    ("class A(): pass", "class A: pass"),
    ('def f():\n    """Docstring."""\n    return 1', "def f():\n    return 1"),
    ("f'{a}'", 'f"{b}"'),
    ("g(f'{a[0]}')", 'g(f"{b["#"]}")'),
]


@pytest.mark.parametrize("one, other", REFORMATTED)
def test_reformatting_does_not_change_the_hashes(one: str, other: str) -> None:
    assert hash_tokens([one]).hashes.tolist() == hash_tokens([other]).hashes.tolist()


@pytest.mark.parametrize(
    "one, other",
    [("a + b", "a - b"), ("'a'", "'b'"), ("x.a", "x.b"), ("f(1)", "f(2)"), ("[a, b]", "[a b]")],
)
def test_other_code_has_other_tokens(one: str, other: str) -> None:
    assert hash_tokens([one]).hashes.tolist() != hash_tokens([other]).hashes.tolist()


def test_names_are_identifiers_that_may_be_renamed() -> None:
    tokens = hash_tokens(["for item in self.items:\n    print(item, 'x', 3)\n"])
    names = {word: word_hash(word) for word in ("for", "item", "in", "self", "items", "print")}
    kept = [word for word, each in names.items() if each in tokens.hashes[tokens.is_name].tolist()]
    assert kept == ["item", "self", "print"]


def test_last_use_is_within_the_text() -> None:
    tokens = hash_tokens(["a = b", "a = a + b"])
    assert tokens.last_use.tolist() == [-1, -1, -1, -1, -1, 3, -1, -1]
    assert tokens.text_ids.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_lines_are_counted_through_strings_and_comments() -> None:
    text = '# one\nx = """two\nthree"""\ny = [\n  1,\n  "a\\\nb", zz]\n'
    tokens = hash_tokens(["before\n\n", text])
    last = tokens.hashes.tolist().index(word_hash("zz"))
    assert tokens.line(last) == text[: text.index("zz")].count("\n") + 1
    words = hash_words([text])
    assert [words.line(i) for i in range(len(words.hashes))] == [1, 2, 2, 3, 4, 5, 6, 7, 7]


@given(st.lists(st.text("ab'\"#\\\n= ([f", max_size=30), max_size=5))
def test_a_text_is_cut_independently_of_other_texts(texts: list[str]) -> None:
    together = hash_tokens(texts)
    for number, text in enumerate(texts):
        alone = hash_tokens([text])
        own = together.text_ids == number
        assert together.hashes[own].tolist() == alone.hashes.tolist()
        assert together.is_name[own].tolist() == alone.is_name.tolist()
        lines = [together.line(i) for i in own.nonzero()[0].tolist()]
        assert lines == [alone.line(i) for i in range(len(alone.hashes))]


@given(st.text("ab'\"#\\\n ", max_size=40))
def test_no_text_takes_long_or_loses_a_line(text: str) -> None:
    tokens = hash_tokens([text])
    assert all(1 <= tokens.line(i) <= text.count("\n") + 1 for i in range(len(tokens.hashes)))
