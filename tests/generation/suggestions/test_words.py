import pytest

from codeling.generation.suggestions.words import matching_words


def test_near_and_frequent_words_come_first() -> None:
    prefix = "path = 1\npassword = 2\npassword\npa"
    words = matching_words(prefix, "\npatch()", "pa")
    assert [word for word, _ in words] == ["password", "patch", "path"]
    assert sum(probability for _, probability in words) < 1


def test_the_unfinished_word_is_not_proposed() -> None:
    assert matching_words("fo", "", "fo") == []
    assert matching_words("foo fo", "", "fo")[0][0] == "foo"
    assert matching_words("foo ", "", "") == []


def test_words_are_whole() -> None:
    assert matching_words("unpath mypath pa", "", "pa") == []
    assert [word for word, _ in matching_words("a.path pa", "", "pa")] == ["path"]
    assert matching_words("pa", "pa\u0300x", "pa")[0][0] == "pa\u0300x"


@pytest.mark.parametrize("fragment", ["a", "a_", "परि"])
def test_a_fragment_may_be_any_identifier(fragment: str) -> None:
    word = fragment + "bc"
    assert matching_words(f"{word} {fragment}", "", fragment)[0][0] == word
