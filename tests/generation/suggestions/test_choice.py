import pytest

from codeling.generation.suggestions.choice import TAIL, Candidate, choose
from codeling.generation.suggestions.place import find_place

PREFIX = "x = "


def chosen(*candidates: Candidate, threshold: float = 0.0) -> str | None:
    place = find_place(PREFIX)
    assert place is not None
    suggestion = choose(candidates, PREFIX, "", place, threshold)
    return suggestion.text if suggestion else None


MODEL = Candidate("compute(alpha)", ((7, 0.9), (8, 0.8), (13, 0.1), (14, 0.05)))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, "compute(alpha)"), (0.5, "compute(alpha)"), (0.9, "compute(alpha")],
)
def test_a_text_is_shown_as_far_as_it_is_likely_enough(threshold: float, expected: str) -> None:
    assert chosen(MODEL, threshold=threshold) == expected


def test_the_continuation_of_a_likely_beginning_may_be_less_likely() -> None:
    tail = 0.5 * TAIL
    pieces = ((3, 0.5), (7, tail), (11, 0.9 * tail))
    assert chosen(Candidate("abc.def.ghi", pieces), threshold=0.5) == "abc.def"
    # A beginning that is too short to be shown must reach the threshold with what follows.
    assert chosen(Candidate("a(bcdef)", ((2, 0.9), (8, 0.4))), threshold=0.5) is None


def test_nothing_is_shown_below_the_threshold() -> None:
    assert chosen(MODEL, threshold=0.95) is None


def test_a_word_is_never_cut() -> None:
    candidate = Candidate("compute_all", ((3, 0.9), (7, 0.9), (11, 0.2)))
    assert chosen(candidate, threshold=0.5) is None


def test_a_word_that_may_continue_is_not_shown() -> None:
    pieces = ((4, 0.9), (8, 0.9))
    assert chosen(Candidate("foo.barb", pieces, is_whole=False)) == "foo."
    assert chosen(Candidate("foo.barb", pieces)) == "foo.barb"


def test_short_texts_are_not_shown() -> None:
    assert chosen(Candidate("ab", ((2, 1.0),))) is None
    assert chosen(Candidate("ab ", ((3, 1.0),))) is None
    assert chosen(Candidate("= b", ((3, 1.0),))) == "= b"  # the space is typed too
    assert chosen(Candidate("= bc", ((2, 0.9), (4, 0.1))), threshold=0.5) is None


def test_the_candidate_that_saves_most_is_shown() -> None:
    likely = Candidate("comp", ((4, 0.9),), "words")
    unlikely = Candidate("completely_other", ((16, 0.1),))
    assert chosen(unlikely, likely) == "comp"
    assert chosen(Candidate("completely_other", ((16, 0.5),)), likely) == "completely_other"


def test_of_equal_candidates_the_first_is_shown() -> None:
    first, second = (Candidate(text, ((3, 0.5),)) for text in ("abc", "xyz"))
    assert chosen(first, second) == "abc"
    assert chosen(second, first) == "xyz"
