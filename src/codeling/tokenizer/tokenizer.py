"""Text to ids and back, without loss: ``decode(encode(x)) == x`` for every text, and
``decode_bytes(encode_bytes(x)) == x`` for every byte string.

Special tokens are StarCoder's, to the letter (Li et al. 2023), because editors and llama.cpp
know them. In a text they are text: :meth:`Tokenizer.encode` never makes one, whoever wants
one names its id. The file is a standard ``tokenizer.json``. This module must not know how a
vocabulary is learned.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers import pre_tokenizers

from codeling.errors import TokenizerError
from codeling.manifest import write_bytes, write_json

END_OF_TEXT = "<|endoftext|>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"
FIM_PAD = "<fim_pad>"
SPECIAL_TOKENS = (END_OF_TEXT, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, FIM_PAD)

FILE_NAME = "tokenizer.json"

_STRAY_BYTES = re.compile("([\udc80-\udcff]+)")
"""Bytes that are no UTF-8, as Python's ``surrogateescape`` writes them."""


class Tokenizer:
    """A byte-level BPE with the special tokens of :data:`SPECIAL_TOKENS`."""

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        """Wrap a tokenizer of the tokenizers library.

        :raises TokenizerError: it has no ``<|endoftext|>``.
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

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a ``tokenizer.json``, or the one in a folder.

        :raises TokenizerError: it is missing, is not one, or is not byte-level.
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
            tokenizer.token_bytes  # noqa: B018 - made now, so that what is not byte-level fails here
        except TokenizerError as error:
            raise TokenizerError(f"{file}: {error}") from error
        return tokenizer

    def save(self, path: Path) -> None:
        """Write ``tokenizer.json`` to ``path``. :raises StorageError: it cannot be written."""
        write_bytes(path, self.to_json().encode())

    def to_json(self) -> str:
        """The standard ``tokenizer.json``, the same text for the same vocabulary."""
        return self._core.to_str(pretty=True)

    def save_for_hugging_face(self, folder: Path, context_length: int) -> None:
        """Write what ``AutoTokenizer.from_pretrained(folder)`` needs, beside ``tokenizer.json``.

        :raises StorageError: it cannot be written.
        """
        self.save(folder / FILE_NAME)
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": context_length,
                "bos_token": END_OF_TEXT,
                "eos_token": END_OF_TEXT,
                "unk_token": END_OF_TEXT,
                "pad_token": FIM_PAD,
                "additional_special_tokens": [FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX],
                "clean_up_tokenization_spaces": False,
            },
        )

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``; the text of a special token is text."""
        return self._core.encode(text, add_special_tokens=False).ids

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids of any byte string; for UTF-8 those of its text.

        A byte that belongs to no UTF-8 character is its own single-byte entry, and what stands
        before and after it is encoded as a text by itself. So nothing is lost and nothing is
        replaced, and no merge ever joins a stray byte to what stands beside it.

        :raises TokenizerError: the tokenizer has no entry for one of those bytes.
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
        """The text of ``ids``; bytes that are no UTF-8 become U+FFFD, special tokens nothing."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """The bytes of ``ids``; special tokens have none."""
        table = self.token_bytes
        return b"".join([table[i] for i in ids])

    def special_id(self, token: str) -> int:
        """Id of one of :data:`SPECIAL_TOKENS`.

        :raises TokenizerError: this tokenizer was made without it.
        """
        found = self._core.token_to_id(token)
        if found is None:
            raise TokenizerError(
                f"the tokenizer has no {token} token: it cannot fill in the middle"
            )
        return found

    @property
    def fim_prefix(self) -> int:
        """Id of ``<fim_prefix>``: the text before the cursor follows."""
        return self.special_id(FIM_PREFIX)

    @property
    def fim_middle(self) -> int:
        """Id of ``<fim_middle>``: what stands at the cursor follows."""
        return self.special_id(FIM_MIDDLE)

    @property
    def fim_suffix(self) -> int:
        """Id of ``<fim_suffix>``: the text after the cursor follows."""
        return self.special_id(FIM_SUFFIX)

    @property
    def fim_pad(self) -> int:
        """Id of ``<fim_pad>``: nothing; fills rows of a batch."""
        return self.special_id(FIM_PAD)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what every id stands for; the same however ``tokenizer.json`` is laid out."""
        entries = [
            f"special {self._core.id_to_token(i)}" if i in self.special_ids else token.hex()
            for i, token in enumerate(self.token_bytes)
        ]
        return hashlib.sha256("\n".join(entries).encode()).hexdigest()

    @cached_property
    def _id_of_byte(self) -> dict[int, int]:
        """The entry of each single byte."""
        return {token[0]: i for i, token in enumerate(self.token_bytes) if len(token) == 1}

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of all special tokens that this tokenizer has."""
        added = self._core.get_added_tokens_decoder()
        return frozenset(i for i, token in added.items() if token.special)

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of every id; a special token has none, another added one those of its text.

        :raises TokenizerError: a token is not written in ByteLevel's alphabet.
        """
        return token_bytes(self._core)


def token_bytes(core: tokenizers.Tokenizer) -> tuple[bytes, ...]:
    """The bytes of every id of any byte-level tokenizer, as :attr:`Tokenizer.token_bytes`.

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


def byte_level_alphabet() -> dict[str, int]:
    """ByteLevel's printable stand-in of each byte → the byte.

    Printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up, in order
    (GPT-2's ``bytes_to_unicode``).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update({chr(0x100 + k): byte for k, byte in enumerate(others)})
    assert set(alphabet) == set(pre_tokenizers.ByteLevel.alphabet())
    return alphabet
