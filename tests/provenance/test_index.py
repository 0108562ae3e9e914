"""Provenance: a passage is found exactly if it is shared, and the file format is stable."""

import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from codeling.errors import CorpusError, InputError
from codeling.provenance import index as module
from codeling.provenance import index_file
from codeling.provenance.index import INDEX_NAME, Index, build, expected_size, line_url
from codeling.provenance.winnowing import GUARANTEE

PASSAGE = '''\
def interpolate(points, count):
    """Resample ``points`` so that ``count`` of them stand at equal distances."""
    total = sum(abs(b - a) for a, b in zip(points, points[1:]))
    step, walked, result = total / (count - 1), 0.0, [points[0]]
    for left, right in zip(points, points[1:]):
        while walked + abs(right - left) >= step:
            left = left + (step - walked) / abs(right - left) * (right - left)
            result.append(left)
            walked = 0.0
        walked += abs(right - left)
    return result
'''


@dataclass(frozen=True)
class Document:
    repository: str
    path: str
    text: str
    license: str = "MIT"
    url: str = ""
    start_line: int = 1


@cache
def words_of(vocabulary: int) -> tuple[str, ...]:
    return (*(f"name{i}" for i in range(vocabulary)), *"()[]:,.=+")


def random_words(random: random.Random, count: int, vocabulary: int = 40) -> list[str]:
    return random.choices(words_of(vocabulary), k=count)


def random_layout(random: random.Random, words: list[str]) -> str:
    return "".join(word + random.choice([" ", "  ", "\n", "\n    "]) for word in words)


def index_of(folder: Path, *documents: Document) -> Index:
    build(documents, folder)
    return Index.load(folder)


@pytest.fixture(scope="module")
def corpus() -> list[Document]:
    """Forty files of noise; file 17 contains the passage, from line 6."""
    randomness = random.Random(0)
    documents = []
    for number in range(40):
        noise = [
            random_layout(randomness, random_words(randomness, 300, 4000)).replace("\n", " ") + "\n"
            for _ in range(5)
        ]
        text = "".join(noise) + (PASSAGE if number == 17 else "") + "".join(noise[:2])
        documents.append(Document(f"repo-{number}", f"src/file_{number}.py", text))
    return documents


def test_a_planted_passage_is_found_with_its_lines(tmp_path: Path, corpus: list[Document]) -> None:
    text = "import math\n\n" + PASSAGE + "\nprint(interpolate([1, 2], 5))\n"
    (match,) = index_of(tmp_path, *corpus).trace(text)
    assert (match.repository, match.path, match.license) == ("repo-17", "src/file_17.py", "MIT")
    assert (match.text_start_line, match.text_end_line) == (3, 13)
    assert (match.start_line, match.end_line) == (6, 16)
    assert match.max_occurrences == 1
    num_lexemes = len(re.findall(r"\w+|[^\w\s]", PASSAGE))
    assert num_lexemes <= match.num_lexemes <= num_lexemes + 2
    assert match.share == match.num_lexemes / len(re.findall(r"\w+|[^\w\s]", text))


@pytest.mark.parametrize("change", ["indented", "joined", "tabs"])
def test_white_space_does_not_hide_a_passage(
    tmp_path: Path, corpus: list[Document], change: str
) -> None:
    text = {
        "indented": re.sub("(?m)^", "        ", PASSAGE),
        "joined": re.sub(r"\s+", " ", PASSAGE),
        "tabs": PASSAGE.replace("    ", "\t").replace("\n", "\r\n"),
    }[change]
    (match,) = index_of(tmp_path, *corpus).trace(text)
    assert (match.repository, match.share) == ("repo-17", 1.0)
    assert (match.start_line, match.end_line) == (6, 16)


def test_a_renamed_variable_leaves_one_match(tmp_path: Path, corpus: list[Document]) -> None:
    text = PASSAGE.replace("total", "length")
    (match,) = index_of(tmp_path, *corpus).trace(text)
    num_lexemes = len(re.findall(r"\w+|[^\w\s]", PASSAGE))
    assert num_lexemes - 2 <= match.num_lexemes <= num_lexemes + 2
    assert (match.start_line, match.end_line) == (6, 16)


def test_text_that_is_not_there_has_no_match(tmp_path: Path, corpus: list[Document]) -> None:
    index = index_of(tmp_path, *corpus)
    for text in ("", "\n\n", "x = 1\n", " ".join(reversed(re.findall(r"\S+", PASSAGE)))):
        assert index.trace(text) == []


def test_every_shared_run_of_the_guaranteed_length_is_found(tmp_path: Path) -> None:
    """Against a brute-force twin: at the bound itself, at random places, in random layouts."""
    randomness = random.Random(1)
    documents, passages = [], []
    for number in range(60):
        words = random_words(randomness, randomness.randrange(40, 120), 3000)
        at = randomness.randrange(len(words) - GUARANTEE + 1)
        passages.append(words[at : at + GUARANTEE])
        text = random_layout(randomness, words)
        documents.append(Document(f"r{number}", "a.py", text))
    index = index_of(tmp_path, *documents)
    for number, passage in enumerate(passages):
        around = [random_words(randomness, randomness.randrange(30), 3000) for _ in range(2)]
        text = random_layout(randomness, [*around[0], *passage, *around[1]])
        matches = index.trace(text)
        assert [match.repository for match in matches] == [f"r{number}"]
        assert matches[0].num_lexemes >= GUARANTEE


def test_repetitive_text_agrees_with_brute_force(tmp_path: Path) -> None:
    """Few different words, so runs repeat and overlap: the best match is still the longest."""
    randomness = random.Random(2)
    for _ in range(30):
        source = random_words(randomness, 400, 2)
        at, length = randomness.randrange(300), randomness.randrange(GUARANTEE, 90)
        passage = source[at : at + length]
        index = index_of(tmp_path, Document("r", "a.py", random_layout(randomness, source)))
        matches = index.trace(" ".join(passage))
        assert matches, passage
        assert matches[0].num_lexemes >= len(passage)


def test_short_passages_are_not_reported(tmp_path: Path, corpus: list[Document]) -> None:
    words = re.findall(r"\w+|[^\w\s]", PASSAGE)
    index = index_of(tmp_path, *corpus)
    assert index.trace(" ".join(words[10 : 10 + GUARANTEE - 1])) == []
    assert index.trace(" ".join(words[10 : 10 + GUARANTEE]))


def test_the_rarer_of_two_sources_comes_first_and_the_common_one_is_found(tmp_path: Path) -> None:
    common = random_layout(random.Random(3), random_words(random.Random(3), 60, 900))
    documents = [Document(f"copy-{i}", "a.py", f"x{i} = {i}\n{common}") for i in range(300)]
    documents.append(Document("origin", "b.py", common + PASSAGE))
    index = index_of(tmp_path, *documents)
    matches = index.trace(common + PASSAGE, limit=50)
    assert matches[0].repository == "origin"
    assert matches[0].max_occurrences == 1
    assert [m.repository for m in matches[1:]] == [], "overshadowed by the longer match"
    matches = index.trace(common, limit=50)
    assert [m.repository for m in matches] == [f"copy-{i}" for i in range(50)]
    assert {m.max_occurrences for m in matches} == {301}


def test_each_document_is_cut_by_itself(
    tmp_path: Path, corpus: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes do not depend on how documents are batched, nor on the time."""
    build(corpus, tmp_path / "a")
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    build(iter(corpus), tmp_path / "b")
    assert (tmp_path / "a" / INDEX_NAME).read_bytes() == (tmp_path / "b" / INDEX_NAME).read_bytes()
    assert [p.name for p in (tmp_path / "a").iterdir()] == [INDEX_NAME]


def test_a_match_does_not_cross_documents(tmp_path: Path) -> None:
    words = re.findall(r"\w+|[^\w\s]", PASSAGE)
    halves = [" ".join(words[:40]), " ".join(words[40:])]
    index = index_of(tmp_path, *(Document(h[:5], "a.py", h) for h in halves))
    assert sorted(m.num_lexemes for m in index.trace(PASSAGE)) == sorted([40, len(words) - 40])


def test_the_file_reads_with_safetensors_alone(tmp_path: Path, corpus: list[Document]) -> None:
    build(corpus, tmp_path)
    tensors = load_file(tmp_path / INDEX_NAME)
    begin, end = tensors["row_offsets"][17:19].tolist()
    row = json.loads(tensors["rows"][begin:end].tobytes())
    expected = asdict(corpus[17])
    del expected["text"]
    assert row == expected
    begin, end = tensors["line_offsets"][17:19].tolist()
    assert end - begin == corpus[17].text.count("\n") + 1
    assert (np.diff(tensors["fingerprints"].astype(np.int64)) != 0).all()
    assert (tensors["fingerprints"][1:] > tensors["fingerprints"][:-1]).all()


def test_odd_documents(tmp_path: Path) -> None:
    odd = ["", "\n", "x", "\x00\x01", "\ud800 = 'é'\n" + PASSAGE, "-" * 5000, "0, " * 5000]
    index = index_of(tmp_path, *(Document(f"r{i}", "a.py", text) for i, text in enumerate(odd)))
    assert index.num_documents == len(odd)
    assert [m.repository for m in index.trace(PASSAGE)] == ["r4"]
    assert [m.start_line for m in index.trace(PASSAGE)] == [2]
    assert index.trace("-" * 5000) == [], "a ruler is not a passage"
    assert index.trace("0, " * 40)[0].repository == "r6"


def test_an_empty_corpus_has_an_index(tmp_path: Path) -> None:
    index = index_of(tmp_path)
    assert index.num_documents == 0
    assert index.trace(PASSAGE) == []


@pytest.mark.parametrize(
    "url, expected",
    [
        ("", ""),
        ("https://example.org/p", "https://example.org/p"),
        ("pkg:pypi/lib@1.0#Lib/src/a.py", "pkg:pypi/lib@1.0#Lib/src/a.py"),
        (
            "https://github.com/a/b/blob/c0ffee/d.py#L10-L20",
            "https://github.com/a/b/blob/c0ffee/d.py#L12-L14",
        ),
        ("https://github.com/a/b/blob/c/d.py#L7", "https://github.com/a/b/blob/c/d.py#L12-L14"),
        (
            "https://github.com/a/b/blob/c0ffee/d.py",
            "https://github.com/a/b/blob/c0ffee/d.py#L12-L14",
        ),
    ],
)
def test_lines_in_urls(url: str, expected: str) -> None:
    assert line_url(url, 12, 14) == expected


def test_a_function_counts_lines_of_its_file(tmp_path: Path) -> None:
    url = "https://github.com/a/b/blob/c/d.py#L101-L111"
    index = index_of(tmp_path, Document("a/b", "d.py", PASSAGE, url=url, start_line=101))
    (match,) = index.trace("".join(PASSAGE.splitlines(keepends=True)[2:6]))
    assert (match.start_line, match.end_line) == (103, 106)
    assert match.url == "https://github.com/a/b/blob/c/d.py#L103-L106"


def test_a_broken_index_is_one_clear_line(tmp_path: Path, corpus: list[Document]) -> None:
    with pytest.raises(InputError, match="no provenance index") as missing:
        Index.load(tmp_path / "nowhere")
    assert "\n" not in str(missing.value)
    build(corpus, tmp_path)
    path = tmp_path / INDEX_NAME
    whole = path.read_bytes()
    for broken in (
        b"",
        whole[:100],
        whole[:-8],
        whole[: len(whole) // 2],
        b"\0" * len(whole),
        whole[:8] + b"[" + whole[9:],
        whole.replace(b'\\"format\\": 1', b'\\"format\\": 9'),
        whole.replace(b'"dtype":"U8"', b'"dtype":"I8"'),
    ):
        assert broken != whole
        path.write_bytes(broken)
        with pytest.raises(InputError, match="not a provenance index") as error:
            Index.load(tmp_path)
        assert "\n" not in str(error.value)


def test_damage_inside_the_tables_is_no_traceback(tmp_path: Path, corpus: list[Document]) -> None:
    build(corpus, tmp_path)
    path = tmp_path / INDEX_NAME
    whole = bytearray(path.read_bytes())
    tensors = load_file(path)
    fingerprints = tensors["fingerprints"] | np.uint64(0xFFFFFFFF)
    at = bytes(whole).index(tensors["fingerprints"].tobytes())
    whole[at : at + fingerprints.nbytes] = fingerprints.tobytes()
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match="its tables contradict each other"):
        Index.load(tmp_path).trace(PASSAGE)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 4,000 lexemes, divided at any document."""
    monkeypatch.setattr(index_file, "MAX_LEXEMES", 4000)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)


def test_an_index_in_parts_finds_what_one_file_finds(
    tmp_path: Path, corpus: list[Document], request: pytest.FixtureRequest
) -> None:
    common = random_layout(random.Random(3), random_words(random.Random(3), 60, 900))
    copies = [Document(f"copy-{i}", "a.py", f"x{i} = {i}\n{common}") for i in range(300)]
    documents = [*copies[:150], *corpus, *copies[150:]]
    whole = index_of(tmp_path / "whole", *documents)
    request.getfixturevalue("small_parts")
    divided = index_of(tmp_path / "divided", *documents)
    names = sorted(path.name for path in (tmp_path / "divided").iterdir())
    assert len(names) > 10
    assert names == sorted(
        [INDEX_NAME, *(f"index-{i}.safetensors" for i in range(2, len(names) + 1))]
    )
    assert divided.num_documents == whole.num_documents == len(documents)
    texts = [PASSAGE, common, common + PASSAGE, *(document.text for document in documents[::20])]
    for text in texts:
        matches = whole.trace(text, limit=400)
        assert matches
        assert divided.trace(text, limit=400) == matches
    assert len(divided.trace(common, limit=400)) == module.MAX_OCCURRENCES


def test_a_document_larger_than_a_part_is_kept_whole(tmp_path: Path, small_parts: None) -> None:
    words = random_words(random.Random(5), 9000, 3000)
    large = Document("large", "a.py", random_layout(random.Random(5), words))
    index = index_of(
        tmp_path, Document("r", "a.py", PASSAGE), large, Document("s", "b.py", "x = 1")
    )
    assert len(list(tmp_path.iterdir())) == 3
    (match,) = index.trace(large.text)
    assert (match.repository, match.share) == ("large", 1.0)


def test_a_smaller_index_replaces_a_larger_one(
    tmp_path: Path, corpus: list[Document], small_parts: None
) -> None:
    build(corpus, tmp_path)
    assert len(list(tmp_path.iterdir())) > 4
    build(corpus[17:18], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [INDEX_NAME]
    assert Index.load(tmp_path).num_documents == 1


def test_a_failed_build_keeps_the_index_before(
    tmp_path: Path, corpus: list[Document], small_parts: None
) -> None:
    build(corpus[:20], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def documents() -> Iterator[Document]:
        yield from corpus
        raise CorpusError("stopped")

    with pytest.raises(CorpusError, match="stopped"):
        build(documents(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_or_foreign_part_is_one_clear_line(
    tmp_path: Path, corpus: list[Document], small_parts: None
) -> None:
    build(corpus, tmp_path)
    second, third = tmp_path / "index-2.safetensors", tmp_path / "index-3.safetensors"
    second.write_bytes(third.read_bytes())
    with pytest.raises(InputError, match=r"index-2\.safetensors: not a provenance index"):
        Index.load(tmp_path)
    second.unlink()
    with pytest.raises(InputError, match=r"index-2\.safetensors: there is no provenance index"):
        Index.load(tmp_path)


def test_the_size_is_known_before_the_index_is_built(
    tmp_path: Path, python_files: list[str]
) -> None:
    build([Document("r", "a.py", text) for text in python_files], tmp_path)
    num_bytes = sum(len(text.encode()) for text in python_files)
    expected = expected_size(num_bytes)
    assert 0.5 < (tmp_path / INDEX_NAME).stat().st_size / expected.disk_bytes < 1
    assert (expected.num_parts, expected_size(0).num_parts) == (1, 1)
    assert expected_size(40 * 10**9).num_parts == 4
    assert str(expected_size(40 * 10**9)) == (
        "up to 24.0 GB in 4 files, built with up to 4.4 GB of memory"
    )
    assert str(expected_size(1)) == "up to 1 MB in 1 file, built with up to 101 MB of memory"


def test_the_file_is_the_one_of_earlier_versions(tmp_path: Path, corpus: list[Document]) -> None:
    """Index files in run folders of earlier versions have these bytes and are read."""
    build(corpus, tmp_path)
    digest = hashlib.sha256((tmp_path / INDEX_NAME).read_bytes()).hexdigest()
    assert digest == "8d3363727988f1f00155a028d8ac0a05f9b045a4aec6826f653d1e8438abd12d"
