"""Some lines of a text are traced, with the other lines as context."""

import random
import re
from pathlib import Path

import pytest

from codeling.errors import UsageError

from .test_index import PASSAGE, Document, index_of, random_layout, random_words


def test_tracing_some_lines_gives_the_passages_on_them(tmp_path: Path) -> None:
    """Against the matches of the whole text, for every range of lines."""
    randomness = random.Random(4)
    documents = [
        Document(f"r{n}", "a.py", random_layout(randomness, random_words(randomness, 90, 3000)))
        for n in range(3)
    ]
    texts = [document.text for document in documents]
    text = "# not in the corpus\n" + "\n# nor is this\n".join(texts)
    index = index_of(tmp_path, *documents)
    whole = index.trace(text)
    assert len(whole) == 3
    num_lexemes = [len(re.findall(r"\w+|[^\w\s]", line)) for line in text.split("\n")]
    for first in range(1, len(num_lexemes) + 1, 3):
        for last in range(first, len(num_lexemes) + 1, 5):
            matches = index.trace(text, lines=(first, last))
            expected = {
                match.path + match.repository
                for match in whole
                if match.text_start_line <= last and first <= match.text_end_line
            }
            assert {match.path + match.repository for match in matches} == expected
            shares = [match.share for match in matches]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1.0
            for match in matches:
                begin, end = max(first, match.text_start_line), min(last, match.text_end_line)
                inside = sum(num_lexemes[begin - 1 : end])
                assert match.share <= inside / sum(num_lexemes[first - 1 : last])
    assert index.trace(text, lines=(1, len(num_lexemes))) == whole


def test_one_line_of_a_passage_is_found_by_the_lines_around_it(tmp_path: Path) -> None:
    index = index_of(tmp_path, Document("repo", "a.py", "import math\n" + PASSAGE))
    line = PASSAGE.split("\n")[3]
    assert index.trace(line) == []
    (match,) = index.trace(PASSAGE, lines=(4, 4))
    assert (match.repository, match.share) == ("repo", 1.0)
    assert (match.text_start_line, match.text_end_line) == (1, 11)
    assert index.trace(PASSAGE, lines=(12, 12)) == []  # after the last line feed


@pytest.mark.parametrize(
    ("lines", "message"),
    [((13, 20), "line 13 is not in the text, which has 12 lines"), ((0, 1), "lines 0 to 1")],
)
def test_lines_outside_the_text_are_one_clear_line(
    tmp_path: Path, lines: tuple[int, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        index_of(tmp_path).trace(PASSAGE, lines=lines)
