"""Compare tokenizers on the same Python: length, losslessness, speed, and prompt boundaries.

Reads any byte-level ``tokenizer.json`` and the published ``.tiktoken`` files. Prompt boundaries
matter in an editor, where a prompt often ends after a newline or an indentation. If its last ids
are not those of the finished file, the model has to continue from ids that it was not trained on,
unless the prompt is healed. This module must not know how the comparison is displayed.
"""

import base64
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import tokenizers
from tokenizers import decoders, models

from codeling.errors import InputError, TokenizerError, UsageError
from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.pretokenizer import GPT2_EXPRESSION, pre_tokenizer_of
from codeling.tokenizer.tokenizer import FILE_NAME, byte_level_alphabet, token_bytes

_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip

TIKTOKEN_CUTS = {
    "cl100k_base": _CL100K,
    **dict.fromkeys(("o200k_base", "o200k_harmony"), _O200K),
    **dict.fromkeys(("r50k_base", "p50k_base", "p50k_edit", "gpt2"), GPT2_EXPRESSION),
}
"""Pre-tokenizers of the vocabularies that tiktoken publishes, by file name: a ``.tiktoken`` file
has only the entries. Source: tiktoken's ``openai_public.py``."""

MAX_FILES, MAX_FILE_BYTES = 400, 100_000
POINTS_PER_FILE = 6
"""Prompts of each kind per file; each encodes the file again up to its end."""


@dataclass(frozen=True)
class NamedTokenizer:
    """A tokenizer of any origin, with its name."""

    name: str
    core: tokenizers.Tokenizer

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens; their names are encoded as text."""
        ids: list[int] = self.core.encode(text, add_special_tokens=False).ids
        return ids

    @property
    def vocab_size(self) -> int:
        """Number of entries."""
        size: int = self.core.get_vocab_size(with_added_tokens=True)
        return size

    def pieces(self, text: str) -> list[bytes]:
        """Bytes of each token of a text. :raises TokenizerError: it is not byte-level."""
        table = token_bytes(self.core)
        return [table[i] for i in self.encode(text)]


@dataclass(frozen=True)
class Measured:
    """Results of one tokenizer on the files."""

    name: str
    vocab_size: int
    num_tokens: int
    bytes_per_token: float
    tokens_per_line: float
    lossless_files: int
    num_files: int
    megabytes_per_second: float
    """Speed of the tokenizers library with this vocabulary, on one thread."""
    same_after_newline: float
    """Share of the prompts ending before a line of code whose ids are those of the whole file."""
    same_after_indentation: float
    """The same for prompts ending after an indentation of two or more spaces or tabs."""
    same_healed: float
    """The same for all these prompts after healing (:mod:`codeling.tokenizer.healing`)."""


def read_tokenizer(path: Path) -> NamedTokenizer:
    """Read a ``tokenizer.json``, a folder with one, a run folder, or a ``.tiktoken`` file.

    :raises TokenizerError: the file is missing, damaged or not byte-level, or a ``.tiktoken`` file
        with an unknown name.
    """
    file = path
    if path.is_dir():
        places = (path / FILE_NAME, path / "tokenizer" / FILE_NAME)
        file = next((place for place in places if place.is_file()), places[0])
    try:
        data = file.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{file}: cannot be read ({error.strerror})") from error
    if file.suffix == ".tiktoken":
        core = _from_tiktoken(file, data)
    else:
        try:
            core = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:  # the library raises bare Exception for a broken file
            raise TokenizerError(f"{file}: not a tokenizer.json ({error})") from error
    core.encode_special_tokens = True
    core.no_padding()
    core.no_truncation()
    try:
        token_bytes(core)
    except TokenizerError as error:
        raise TokenizerError(f"{file}: {error}") from error
    return NamedTokenizer(_name(path), core)


def _name(path: Path) -> str:
    """The file's name, or for a ``tokenizer.json`` that of its folder."""
    stem = path.resolve()
    while stem.name in (FILE_NAME, "tokenizer", "model") and stem.parent != stem:
        stem = stem.parent
    return stem.stem if stem.is_file() else stem.name


def _from_tiktoken(file: Path, data: bytes) -> tokenizers.Tokenizer:
    """Convert entries with ranks to entries and merges.

    tiktoken joins the neighbours whose entry has the lowest rank. So the merge of an entry is the
    last pair that it is joined from, using entries of lower rank only.
    """
    if file.stem not in TIKTOKEN_CUTS:
        known = ", ".join(sorted(TIKTOKEN_CUTS))
        raise TokenizerError(
            f"{file}: a .tiktoken file has no pre-tokenizer; the known file names are {known}"
        )
    try:
        rows = [line.split() for line in data.splitlines() if line]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in rows}
    except ValueError as error:
        raise TokenizerError(f"{file}: not a .tiktoken file ({error})") from error
    if not {bytes([byte]) for byte in range(256)} <= ranks.keys():
        raise TokenizerError(f"{file}: not a .tiktoken file (single bytes are missing)")
    written = {byte: character for character, byte in byte_level_alphabet().items()}

    def entry(token: bytes) -> str:
        return "".join(written[byte] for byte in token)

    ordered = sorted(ranks, key=ranks.__getitem__)
    pairs = [_last_pair(token, ranks) for token in ordered if len(token) > 1]
    merges = [(entry(pair[0]), entry(pair[1])) for pair in pairs if pair]
    vocabulary = {entry(token): rank for token, rank in ranks.items()}
    core = tokenizers.Tokenizer(models.BPE(vocabulary, merges, ignore_merges=True))
    core.pre_tokenizer = pre_tokenizer_of(TIKTOKEN_CUTS[file.stem])
    core.decoder = decoders.ByteLevel()
    return core


def _last_pair(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two parts that ``token`` is joined from, using entries of lower rank."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        joined = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
        best = min(joined)
        if best >= ranks[token]:
            return None  # cannot be made by merging; only matches a whole piece
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def read_texts(folder: Path) -> list[tuple[str, str]]:
    """Name and text of Python files in ``folder`` (or one file), evenly spread over all of them.

    :raises UsageError: ``folder`` does not exist.
    :raises InputError: there is no Python file in UTF-8.
    """
    if not folder.exists():
        raise UsageError(f"{folder}: no such file or folder")
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*.py"))
    texts = []
    for path in paths[:: max(1, len(paths) // MAX_FILES)]:
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if text and len(text) <= MAX_FILE_BYTES:
            texts.append((str(path.relative_to(folder)) if path != folder else path.name, text))
    if not texts:
        raise InputError(f"{folder}: no Python file in UTF-8 in it")
    return texts[:MAX_FILES]


def measure(peer: NamedTokenizer, texts: Sequence[str]) -> Measured:
    """Measure ``peer`` on ``texts``."""
    table = token_bytes(peer.core)
    num_bytes = sum(len(text.encode()) for text in texts)
    num_lines = sum(text.count("\n") + (not text.endswith("\n")) for text in texts)
    start = time.perf_counter()
    encoded = [peer.encode(text) for text in texts]
    seconds = time.perf_counter() - start
    lossless = sum(
        b"".join([table[i] for i in ids]) == text.encode()
        for text, ids in zip(texts, encoded, strict=True)
    )
    num_tokens = sum(map(len, encoded))
    vocabulary = Vocabulary(table)
    after_newline = _matches_file(peer, vocabulary, texts, encoded, _LINE_STARTS)
    after_indentation = _matches_file(peer, vocabulary, texts, encoded, _CODE_STARTS)
    return Measured(
        name=peer.name,
        vocab_size=peer.vocab_size,
        num_tokens=num_tokens,
        bytes_per_token=num_bytes / max(1, num_tokens),
        tokens_per_line=num_tokens / max(1, num_lines),
        lossless_files=lossless,
        num_files=len(texts),
        megabytes_per_second=num_bytes / 1e6 / max(seconds, 1e-9),
        same_after_newline=_share(plain for plain, _ in after_newline),
        same_after_indentation=_share(plain for plain, _ in after_indentation),
        same_healed=_share(healed for _, healed in (*after_newline, *after_indentation)),
    )


_LINE_STARTS = re.compile(r"(?m)(?<=\n)(?=[ \t]*[^\s])")
_CODE_STARTS = re.compile(r"(?m)^[ \t]{2,}(?=[^\s])")


def _matches_file(
    peer: NamedTokenizer,
    vocabulary: Vocabulary,
    texts: Sequence[str],
    encoded: Sequence[list[int]],
    where: re.Pattern[str],
) -> list[tuple[bool, bool]]:
    """For each prompt, whether its ids are those of the file: as it is, and healed."""
    found = []
    for text, ids in zip(texts, encoded, strict=True):
        for end in _points(text, where):
            prompt = peer.encode(text[:end])
            healed = vocabulary.heal(prompt).ids
            found.append((prompt == ids[: len(prompt)], healed == ids[: len(healed)]))
    return found


def _share(found: Iterable[bool]) -> float:
    """Share of true values."""
    each = list(found)
    return sum(each) / max(1, len(each))


def _points(text: str, where: re.Pattern[str]) -> Iterator[int]:
    """Ends of some matches, evenly spread over the first 20,000 characters."""
    ends = [match.end() for match in where.finditer(text, 0, 20_000)]
    return islice(ends, 0, None, max(1, len(ends) // POINTS_PER_FILE))
