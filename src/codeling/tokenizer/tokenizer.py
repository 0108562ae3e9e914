"""Text to ids and back, without loss: ``decode(encode(x)) == x`` for every text, and
``decode_bytes(encode_bytes(x)) == x`` for every byte string.

Special tokens are those of StarCoder (Li et al. 2023), because editors and llama.cpp know them. In
a text their names are text: :meth:`Tokenizer.encode` never produces one; use its id instead. The
file is a standard ``tokenizer.json``. This module must not know how a vocabulary is learned.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, pre_tokenizers

from codeling.errors import TokenizerError
from codeling.manifest import write_bytes, write_json
from codeling.tokenizer.line_cache import LineCache, is_cut

END_OF_TEXT = "<|endoftext|>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"
FIM_PAD = "<fim_pad>"
SPECIAL_TOKENS = (END_OF_TEXT, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FIM_PAD)

FILE_NAME = "tokenizer.json"

_DIGEST_VERSION = 2

_STRAY_BYTES = re.compile("([\udc80-\udcff]+)")
"""Bytes that are not UTF-8, in Python's ``surrogateescape`` form."""


class Tokenizer:
    """A byte-level BPE with the special tokens of :data:`SPECIAL_TOKENS`."""

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer of the tokenizers library.

        :raises TokenizerError: it has no ``<|endoftext|>`` token.
        """
        core.encode_special_tokens = True
        core.no_padding()
        core.no_truncation()
        self._core = core
        self.vocab_size: int = core.get_vocab_size(with_added_tokens=True)
        end_of_text = core.token_to_id(END_OF_TEXT)
        if end_of_text is None:
            raise TokenizerError(f"the tokenizer has no {END_OF_TEXT} token")
        self.end_of_text: int = end_of_text

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its JSON for another process."""
        return _from_json, (self.to_json(),)

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a ``tokenizer.json``, or the one in a folder.

        :raises TokenizerError: the file is missing, damaged, or not byte-level.
        """
        file = path / FILE_NAME if path.is_dir() else path
        try:
            core = tokenizers.Tokenizer.from_buffer(file.read_bytes())
        except OSError as error:
            raise TokenizerError(f"{file}: cannot be read ({error.strerror})") from error
        except Exception as error:  # the library raises bare Exception for a broken file
            raise TokenizerError(f"{file}: not a tokenizer.json ({error})") from error
        try:
            tokenizer = cls(core)
            tokenizer.token_bytes  # noqa: B018 - computed now, so that a file that is not byte-level fails here
        except TokenizerError as error:
            raise TokenizerError(f"{file}: {error}") from error
        return tokenizer

    def save(self, path: Path) -> None:
        """Write ``tokenizer.json`` to ``path``. :raises StorageError: it cannot be written."""
        write_bytes(path, self.to_json().encode())

    def to_json(self) -> str:
        """The standard ``tokenizer.json``; the same vocabulary gives the same text."""
        return self._core.to_str(pretty=True)

    def save_for_hugging_face(self, folder: Path, context_length: int) -> None:
        """Write the files that ``AutoTokenizer.from_pretrained(folder)`` needs.

        :raises StorageError: a file cannot be written.
        """
        self.save(folder / FILE_NAME)
        infilling = [FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX]
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": context_length,
                "bos_token": END_OF_TEXT,
                "eos_token": END_OF_TEXT,
                "unk_token": END_OF_TEXT,
                "pad_token": self.name_of(self.padding),
                "additional_special_tokens": infilling if self.can_infill else [],
                "clean_up_tokenization_spaces": False,
            },
        )

    def with_infilling(self) -> "Tokenizer":
        """The same tokenizer with all of :data:`SPECIAL_TOKENS`; new ones come last."""
        core = tokenizers.Tokenizer.from_str(self.to_json())
        missing = [each for each in SPECIAL_TOKENS if core.token_to_id(each) is None]
        core.add_special_tokens([AddedToken(each, special=True) for each in missing])
        return Tokenizer(core)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``. The name of a special token is encoded as text."""
        return self._core.encode(text, add_special_tokens=False).ids

    def encode_typed(self, text: str) -> list[int]:
        """Like :meth:`encode`; lines of earlier texts are looked up (:class:`LineCache`)."""
        return self.encode(text) if self._lines is None else self._lines.encode(text)

    def encode_typed_with(self, encode: Callable[[str], list[int]]) -> None:
        """Let :meth:`encode_typed` use ``encode``, which must give the ids of :meth:`encode`."""
        if self._lines is not None:
            self._lines = LineCache(encode)

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any byte string; for valid UTF-8 those of its text.

        A byte that is not part of a UTF-8 character becomes its single-byte entry; the text before
        and after it is encoded separately. So nothing is lost or replaced, and no merge joins a
        stray byte with its neighbours.

        :raises TokenizerError: the tokenizer has no entry for one of these bytes.
        """
        ids: list[int] = []
        for piece in _STRAY_BYTES.split(data.decode("utf-8", errors="surrogateescape")):
            if not _STRAY_BYTES.fullmatch(piece):
                ids += self.encode(piece)
                continue
            for byte in piece.encode("utf-8", errors="surrogateescape"):
                if byte not in self._id_of_byte:
                    raise TokenizerError(f"the tokenizer has no entry for the byte 0x{byte:02x}")
                ids.append(self._id_of_byte[byte])
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Like :meth:`encode` for many texts, on all processor threads."""
        encodings = self._core.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``. Invalid UTF-8 becomes U+FFFD; special tokens are omitted."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Bytes of ``ids``. Special tokens are omitted."""
        table = self.token_bytes
        return b"".join([table[i] for i in ids])

    def special_id(self, token: str) -> int:
        """Id of one of :data:`SPECIAL_TOKENS`.

        :raises TokenizerError: the tokenizer does not have it.
        """
        found = self.find_special(token)
        if found is None:
            raise TokenizerError(
                f"the tokenizer has no {token} token: it cannot fill in the middle"
            )
        return found

    def find_special(self, token: str) -> int | None:
        """Id of one of :data:`SPECIAL_TOKENS`, or None if the tokenizer does not have it."""
        found: int | None = self._core.token_to_id(token)
        return found

    def name_of(self, token: int) -> str:
        """The entry of an id as ``tokenizer.json`` writes it; empty if there is no such id."""
        return self._core.id_to_token(token) or ""

    @property
    def can_infill(self) -> bool:
        """Whether the special tokens for infilling exist."""
        wanted = (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)
        return all(self._core.token_to_id(token) is not None for token in wanted)

    @property
    def fim_prefix(self) -> int:
        """Id of ``<fim_prefix>``, which precedes the text before the cursor."""
        return self.special_id(FIM_PREFIX)

    @property
    def fim_middle(self) -> int:
        """Id of ``<fim_middle>``, which precedes the text to fill in."""
        return self.special_id(FIM_MIDDLE)

    @property
    def fim_suffix(self) -> int:
        """Id of ``<fim_suffix>``, which precedes the text after the cursor."""
        return self.special_id(FIM_SUFFIX)

    @property
    def padding(self) -> int:
        """Id that pads batches: ``<fim_pad>``, or ``<|endoftext|>`` where there is none."""
        found = self.find_special(FIM_PAD)
        return self.end_of_text if found is None else found

    @cached_property
    def longest_token(self) -> int:
        """Number of bytes of the longest token."""
        return max(map(len, self.token_bytes))

    @cached_property
    def _lines(self) -> LineCache | None:
        """None if the pre-tokenizer may join a line with the next one."""
        return LineCache(self.encode) if is_cut(self._core) else None

    @cached_property
    def digest(self) -> str:
        """``2:`` and the SHA-256 of all that decides the ids of a text.

        That is the vocabulary, the merges, the normalizer and the pre-tokenizer; the formatting of
        ``tokenizer.json`` is not part of it.
        """
        rules = json.loads(self._core.to_str())
        model = rules["model"]
        parts = {
            "vocabulary": self._vocabulary_digest,
            "merges": [
                each.split(" ") if isinstance(each, str) else each
                for each in model.get("merges", ())
            ],
            "ignore_merges": bool(model.get("ignore_merges")),
            "normalizer": rules["normalizer"],
            "pre_tokenizer": rules["pre_tokenizer"],
        }
        text = json.dumps(parts, sort_keys=True)
        return f"{_DIGEST_VERSION}:{hashlib.sha256(text.encode()).hexdigest()}"

    def has_digest(self, digest: str | None) -> bool:
        """Whether a stored digest, of this version or the first one, is this tokenizer's.

        The first version is the SHA-256 of the vocabulary alone. None means that no digest was
        stored; it fits any tokenizer.
        """
        return digest in (None, self.digest, self._vocabulary_digest)

    @cached_property
    def _vocabulary_digest(self) -> str:
        entries = [
            f"special {self._core.id_to_token(i)}" if i in self.special_ids else token.hex()
            for i, token in enumerate(self.token_bytes)
        ]
        return hashlib.sha256("\n".join(entries).encode()).hexdigest()

    @cached_property
    def _id_of_byte(self) -> dict[int, int]:
        """Byte → id of its single-byte entry."""
        return {token[0]: i for i, token in enumerate(self.token_bytes) if len(token) == 1}

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens of this tokenizer."""
        added = self._core.get_added_tokens_decoder()
        return frozenset(i for i, token in added.items() if token.special)

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """Bytes of each id. A special token has none, another added token those of its text.

        :raises TokenizerError: a token is not written in ByteLevel's alphabet.
        """
        return token_bytes(self._core)


def token_bytes(core: tokenizers.Tokenizer) -> tuple[bytes, ...]:
    """Bytes of each id of any byte-level tokenizer; see :attr:`Tokenizer.token_bytes`.

    :raises TokenizerError: a token is not written in ByteLevel's alphabet.
    """
    to_byte = byte_level_alphabet()
    added = core.get_added_tokens_decoder()
    table = []
    for i in range(core.get_vocab_size(with_added_tokens=True)):
        token = core.id_to_token(i)
        if token is None or (i in added and added[i].special):
            table.append(b"")
            continue
        if i in added:
            table.append(added[i].content.encode())
            continue
        try:
            table.append(bytes(to_byte[character] for character in token))
        except KeyError as error:
            raise TokenizerError(
                f"not a byte-level tokenizer: entry {i} is {json.dumps(token)}"
            ) from error
    return tuple(table)


def _from_json(text: str) -> Tokenizer:
    return Tokenizer(tokenizers.Tokenizer.from_str(text))


def byte_level_alphabet() -> dict[str, int]:
    """ByteLevel's printable character for each byte → the byte.

    Printable Latin-1 characters represent themselves, U+0100 and up the other 68 bytes, in order
    (GPT-2's ``bytes_to_unicode``).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + k): byte for k, byte in enumerate(others)})
    assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
    return alphabet
