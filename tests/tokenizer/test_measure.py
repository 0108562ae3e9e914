import base64
import json
from itertools import pairwise
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from codeling.errors import InputError, TokenizerError, UsageError
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.comparison_page import COLUMNS, comparison_page, figures_row
from codeling.tokenizer.measure import TIKTOKEN_CUTS, measure, read_texts, read_tokenizer
from codeling.tokenizer.tokenizer import Tokenizer, byte_level_alphabet
from codeling.tokenizer.train import train

CODE = "def f(x):\n    if x:\n        return '<é\x00>'\n\n    return x  # & more\n"


def tiktoken_file(folder: Path, tokens: list[bytes], name: str = "cl100k_base") -> Path:
    rows = [*(bytes([byte]) for byte in range(256)), *tokens]
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(rows))
    path = folder / f"{name}.tiktoken"
    path.write_text("".join(lines))
    return path


def rank_encode(ranks: dict[bytes, int], piece: bytes) -> list[int]:
    """tiktoken's rule: a whole piece is an entry, else merge the pair of lowest rank."""
    if piece in ranks:
        return [ranks[piece]]
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 1:
        joined = [ranks.get(a + b, 1 << 30) for a, b in pairwise(parts)]
        if min(joined) == 1 << 30:
            break
        at = joined.index(min(joined))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [ranks[part] for part in parts]


def test_a_tiktoken_file_encodes_by_its_ranks(tmp_path: Path, python_files: list[str]) -> None:
    tokens = [b"re", b"in", b"ur", b"tur", b"return", b" =", b"    ", b"se", b"el", b"elf", b"self"]
    peer = read_tokenizer(tiktoken_file(tmp_path, [*tokens, b"\xc3\xa9", b"import", b" x"]))
    assert (peer.name, peer.vocab_size) == ("cl100k_base", 270)
    rows = (tmp_path / "cl100k_base.tiktoken").read_text().splitlines()
    ranks = {base64.b64decode(each.split()[0]): int(each.split()[1]) for each in rows}
    splitter = pre_tokenizers.Split(
        tokenizers.Regex(TIKTOKEN_CUTS["cl100k_base"]), behavior="isolated"
    )
    for text in (CODE, "self.return_ = selfé import\n", python_files[4][:3000]):
        pieces = [piece.encode() for piece, _ in splitter.pre_tokenize_str(text)]
        expected = [i for piece in pieces for i in rank_encode(ranks, piece)]
        assert peer.encode(text) == expected
        assert b"".join(peer.pieces(text)) == text.encode()


DATA = Path(__file__).parents[3] / "shared" / "data" / "tokenizers"


@pytest.mark.proof
@pytest.mark.skipif(not DATA.is_dir(), reason="no published tokenizers at hand")
def test_the_published_file_encodes_as_tiktoken_does(python_files: list[str]) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    path = DATA / "cl100k_base.tiktoken"
    rows = [line.split() for line in path.read_bytes().splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    theirs = tiktoken.Encoding(
        "cl100k", pat_str=TIKTOKEN_CUTS[path.stem], mergeable_ranks=ranks, special_tokens={}
    )
    peer = read_tokenizer(path)
    for text in (*python_files, CODE, "é中\U0001f600 \r\n\t<|endoftext|>"):
        assert peer.encode(text) == theirs.encode_ordinary(text)


def test_figures_of_our_tokenizer(
    tokenizer: Tokenizer, tmp_path: Path, python_files: list[str]
) -> None:
    tokenizer.save(tmp_path / "run" / "tokenizer" / "tokenizer.json")
    texts = [text[:8000].rpartition("\n")[0] + "\n" for text in python_files[:6]]
    peer = read_tokenizer(tmp_path / "run")
    figures = measure(peer, texts)
    num_tokens = sum(len(tokenizer.encode(text)) for text in texts)
    assert (figures.name, figures.vocab_size, figures.num_tokens) == ("run", 512, num_tokens)
    assert figures.bytes_per_token == sum(len(t.encode()) for t in texts) / num_tokens
    assert figures.tokens_per_line == num_tokens / sum(text.count("\n") for text in texts)
    assert figures.lossless_files == figures.num_files == len(texts)
    assert figures.same_after_indentation == 0
    assert figures.same_healed > 0.95
    assert peer.encode("<|endoftext|>") == tokenizer.encode("<|endoftext|>")


def test_measure_detects_a_cut_that_needs_no_healing(
    tmp_path: Path, python_files: list[str]
) -> None:
    learned = train(python_files, TokenizerRecipe(vocab_size=512, cut="python"))
    learned.save(tmp_path / "tokenizer.json")
    texts = [text[:8000].rpartition("\n")[0] + "\n" for text in python_files[:6]]
    figures = measure(read_tokenizer(tmp_path), texts)
    assert figures.same_after_newline == figures.same_after_indentation == 1


def gpt2_like() -> tokenizers.Tokenizer:
    """GPT-2's cut: the last space of an indentation belongs to the next word."""
    letters = sorted(byte_level_alphabet())
    entries = [*letters, "ĠĠ", "ĠĠĠ", "Ġr"]
    merges = [("Ġ", "Ġ"), ("ĠĠ", "Ġ"), ("Ġ", "r")]
    core = tokenizers.Tokenizer(models.BPE({e: i for i, e in enumerate(entries)}, merges))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return core


def test_measure_detects_a_cut_that_gives_a_space_to_the_word(tmp_path: Path) -> None:
    gpt2_like().save(str(tmp_path / "tokenizer.json"))
    figures = measure(read_tokenizer(tmp_path), ["if x:\n    return x\n" * 5])
    assert figures.same_after_indentation == 0 < figures.same_healed
    assert figures.lossless_files == 1


def test_unreadable_texts_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("x = 1\n")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "large.py").write_text("x" * 200_000)
    (tmp_path / "other.txt").write_text("x")
    assert read_texts(tmp_path) == [("a/b.py", "x = 1\n")]
    assert read_texts(tmp_path / "a" / "b.py") == [("b.py", "x = 1\n")]
    with pytest.raises(InputError, match="no Python file in UTF-8 in it"):
        read_texts(tmp_path / "latin.py")
    with pytest.raises(UsageError, match="other: no such file or folder"):
        read_texts(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("cl100k_base.tiktoken", b"", "single bytes are missing"),
        ("cl100k_base.tiktoken", b"IQ==\n", "not a .tiktoken file"),
        ("cl100k_base.tiktoken", b"!! 0\n", "not a .tiktoken file"),
        ("own.tiktoken", b"IQ== 0\n", "has no pre-tokenizer; the known file names are cl100k_base"),
        ("tokenizer.json", b"{}", "not a tokenizer.json"),
        ("nothing", None, "cannot be read"),
    ],
)
def test_an_unreadable_tokenizer_is_one_line(
    tmp_path: Path, name: str, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(TokenizerError) as caught:
        read_tokenizer(tmp_path / name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_page_shows_every_cut_and_escapes_html(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    peers = [read_tokenizer(tmp_path), read_tokenizer(tiktoken_file(tmp_path, [b"return"]))]
    figures = [measure(peer, [CODE]) for peer in peers]
    assert all(len(figures_row(each)) == len(COLUMNS) for each in figures)
    page = comparison_page(peers, figures, "<a>.py", CODE, "<1> file")
    assert "<a>.py" not in page
    assert "&lt;a&gt;.py" in page
    assert "<script" not in page
    for peer in peers:
        # A character split between two tokens is one span.
        assert page.count('<span class="t') <= sum(len(peer.encode(CODE)) for peer in peers)
        assert f"{peer.name}: {len(peer.encode(CODE)):,} tokens" in page
    assert "U+0000" in page
    assert json.dumps(figures[0].__dict__)
