"""Files of a request propose what a search finds, are read once, and cannot fill the memory."""

from collections.abc import Sequence

import numpy as np
import pytest

from codeling.memory.chain_kernels import TRUST_SHAPE
from codeling.memory.project import LIMIT, ORDERS
from codeling.memory.sent_files import LongestContext, SentFiles, SentProject
from codeling.memory.source import Ids
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.tokenizer import Tokenizer
from codeling.tokenizer.train import train

from .brute_force import proposal

TRUST = np.full(TRUST_SHAPE, 0.5, np.float32)
FILES = [
    ("far.py", "def area(width, height):\n    return width * height\n"),
    ("near.py", "import math\n\ndef area(radius):\n    return 3.14 * radius ** 2\n"),
]
TEXTS = ("def area(", "    return 3.14 *", "print(", "zebra", "")


class Counted(Tokenizer):
    """A tokenizer that keeps the texts that it encoded."""

    encoded: list[str]

    def encode(self, text: str) -> list[int]:
        self.encoded.append(text)
        return super().encode(text)


@pytest.fixture(scope="module")
def trained(python_files: list[str]) -> Tokenizer:
    return train(python_files[2:4], TokenizerRecipe(vocab_size=300, seed=0))


@pytest.fixture
def tokenizer(trained: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Tokenizer:
    monkeypatch.setattr(trained, "__class__", Counted)
    trained.encoded = []  # type: ignore[attr-defined]
    return trained


def encoded(tokenizer: Tokenizer) -> list[str]:
    texts: list[str] = tokenizer.encoded  # type: ignore[attr-defined]
    found = texts.copy()
    texts.clear()
    return found


def history(tokenizer: Tokenizer, text: str) -> Ids:
    return np.array([tokenizer.end_of_text, *tokenizer.encode(text)])


def read(files: SentFiles, sent: Sequence[tuple[str, str]]) -> SentProject:
    project = files.read(sent)
    assert project is not None
    return project


def test_proposals_equal_a_search_by_brute_force(tokenizer: Tokenizer) -> None:
    project = read(SentFiles(tokenizer, TRUST), FILES)
    ids = [i for _, text in FILES for i in history(tokenizer, text).tolist()]
    for text in TEXTS:
        tokens = history(tokenizer, text)
        found = project.propose(tokens)
        expected, _ = proposal(tokens.tolist(), ids, ORDERS, LIMIT, TRUST)
        assert dict(
            zip(found.ids.tolist(), found.probabilities.tolist(), strict=True)
        ) == pytest.approx(expected, abs=1e-6)


def test_places_name_the_file_and_the_line_also_of_parts_with_one_name(
    tokenizer: Tokenizer,
) -> None:
    parts = [("a.py", "import math\nimport json\n"), ("a.py", "\n\nlimit = 3\nprint(limit)\n")]
    project = read(SentFiles(tokenizer, TRUST), parts)
    first = 0
    for path, text in parts:
        ids = history(tokenizer, text)
        for number in range(1, len(ids)):
            line = 1 + tokenizer.decode(ids[1:number].tolist()).count("\n")
            places = project.places(ids[:number], int(ids[number]))
            assert (path, first + number, line) in places
        first += len(ids)


def test_of_two_sources_the_longer_context_proposes(tokenizer: Tokenizer) -> None:
    files = SentFiles(tokenizer, TRUST)
    first, second = read(files, FILES[:1]), read(files, FILES[1:])
    both = LongestContext(first, second)
    ids = history(tokenizer, FILES[1][1] + FILES[0][1])
    scores = both.score(ids)
    for number in range(len(ids) - 1):
        before = ids[: number + 1]
        found, one, two = (each.propose(before) for each in (both, first, second))
        assert found.order == max(one.order, two.order) == scores.order[number]
        expected = one if one.order >= two.order else two
        assert found.ids.tolist() == expected.ids.tolist()
        assert scores.rest[number] == pytest.approx(expected.rest, abs=1e-6)
    token = int(history(tokenizer, "import math")[1])
    start = np.array([tokenizer.end_of_text])
    assert both.places(start, token) == first.places(start, token)


def test_a_keystroke_with_the_same_files_encodes_nothing(tokenizer: Tokenizer) -> None:
    files = SentFiles(tokenizer, TRUST)
    project = read(files, FILES)
    assert encoded(tokenizer) == [text for _, text in FILES]
    assert read(files, [(path, "".join(text)) for path, text in FILES]) is project
    assert read(files, FILES[::-1]) is not project
    assert encoded(tokenizer) == []
    changed = [FILES[0], ("near.py", FILES[1][1] + "x = 1\n")]
    read(files, changed)
    assert encoded(tokenizer) == [changed[1][1]]


def test_the_last_files_that_fit_are_read(tokenizer: Tokenizer) -> None:
    many = [(f"{number}.py", f"value_{number} = {number}\n" * 20) for number in range(1000)]
    files = SentFiles(tokenizer, TRUST, max_bytes=20_000)
    read(files, many)
    texts = encoded(tokenizer)
    assert 15_000 < sum(len(text.encode()) for text in texts) <= 20_000
    assert texts == [text for _, text in many[-len(texts) :]]
    assert files.read([("large.py", "x" * 20_001)]) is None
    assert files.read([("wide.py", "é" * 10_001)]) is None
    assert files.read([("empty.py", " \n")]) is None
    assert files.read([]) is None
    assert encoded(tokenizer) == []
    read(files, [FILES[0]] * 1000)
    assert encoded(tokenizer) == [FILES[0][1]]


def test_clients_cannot_fill_the_memory(tokenizer: Tokenizer) -> None:
    files = SentFiles(tokenizer, TRUST, max_tokens=5000)
    for number in range(200):
        read(files, [(f"{number}.py", f"value_{number} = {number}\n" * 20)])
        assert files.num_tokens <= 5000
    assert files.num_tokens > 3000
    encoded(tokenizer)
    read(files, [("199.py", "value_199 = 199\n" * 20)])
    assert encoded(tokenizer) == []
    read(files, [("0.py", "value_0 = 0\n" * 20)])
    assert len(encoded(tokenizer)) == 1


def test_a_text_that_is_no_unicode_is_read_with_marks(tokenizer: Tokenizer) -> None:
    read(SentFiles(tokenizer, TRUST), [("a.py", "x = '\ud800'\n")])
    assert encoded(tokenizer) == ["x = '?'\n"]
