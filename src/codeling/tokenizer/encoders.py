"""Encode many texts at once, with the fastest encoder whose ids are verified.

An encoder takes texts and returns one flat array, so no Python object is made per id. fastokens
(Apache-2.0, Rust) reads the same ``tokenizer.json`` and knows GPT-2's pre-tokenizer, with which it
is many times as fast as tokenizers. Nothing guarantees that it gives the same ids, so it is
compared with tokenizers: on hard texts and a sample of the corpus before it is used, and on more
of the corpus while it is used (:func:`find_difference`). The ids of tokenizers are right by
definition. This module must not know about files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeling.quantity import quantity
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

SAMPLE_BYTES = 200_000
"""Text of the corpus on which an encoder is compared before it is used."""

_RUN_LENGTHS = (1, 2, 3, 4, 7, 1_100)
_LONG_RUNS = (" ", "\n", "=", "a", "é")
_MAX_TYPED = 2_500
"""Maximum characters of a line that is encoded with fastokens while it is typed."""
_LONG = 20_000
"""Above 16 KiB, where an encoder may divide a text among threads."""
_RUNS = (" ", "\t", "\n", "\r", "\r\n", "\f", "\x00", "_", "=", "a", " a", "1", "é", "中", "\u3000")
_ODD = (
    "", "\ufeffimport os\n", "\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u180e\u200b x",
    "e\u0301 \u0301 x\u0301y µ\u02bc ª ǅ ⅷ ² ½ ٣٤٥٦ 𝟙𝟚𝟛𝟜 _\u203f_",
    "\U0001f469\u200d\U0001f4bb\ufe0f",
    "\U0010ffff\ue000\ufdd0\ufffd ==\x00\n==é\n=\x1f=\x7f x\x00 12² 12\u0660 1234²",
    "a'S It's WE'LL 's'\u2019t", "\"\"\" ''' #\t# 0xFF_00 1e-5j",
    "".join(SPECIAL_TOKENS), " ".join(SPECIAL_TOKENS), "<|endoftext", "<fim_prefix><fim_",
)  # fmt: skip


@dataclass(frozen=True)
class Encoded:
    """Ids of several texts, concatenated."""

    ids: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    """(N + 1,): text ``t`` is ``ids[offsets[t]:offsets[t + 1]]``."""

    def text_ids(self, number: int) -> NDArray[np.uint32]:
        """Ids of one text."""
        return self.ids[int(self.offsets[number]) : int(self.offsets[number + 1])]


@dataclass(frozen=True)
class Encoder:
    """Encodes texts. The name of a special token in a text is encoded as text."""

    name: str
    encode: Callable[[Sequence[str]], Encoded]


def reference_encoder(tokenizer: Tokenizer) -> Encoder:
    """The tokenizers library: slow, and right by definition."""

    def encode(texts: Sequence[str]) -> Encoded:
        encoded = tokenizer.encode_batch(texts)
        parts = [np.asarray(ids, np.uint32) for ids in encoded]
        ids = np.concatenate([np.empty(0, np.uint32), *parts])
        return Encoded(ids, np.cumsum([0, *map(len, encoded)], dtype=np.int64))

    return Encoder("tokenizers", encode)


def fastokens_encoder(tokenizer: Tokenizer) -> Encoder | None:
    """fastokens with the same vocabulary; None if it is not installed or does not support it."""
    try:
        import fastokens
    except ImportError:
        return None
    try:
        core = fastokens.Tokenizer.from_json_str(tokenizer.to_json())
    except Exception:  # fastokens has no error types of its own
        return None

    def encode(texts: Sequence[str]) -> Encoded:
        ids, offsets = core.encode_batch_flat(list(texts), split_special_tokens=True)
        return Encoded(np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64))

    return Encoder("fastokens", encode)


def choose_encoder(tokenizer: Tokenizer, sample: Sequence[str]) -> tuple[Encoder, str | None]:
    """The fastest verified encoder for a corpus that begins with ``sample``.

    Also returns the reason if that is not fastokens.
    """
    encoder = fastokens_encoder(tokenizer)
    if encoder is None:
        return reference_encoder(
            tokenizer
        ), "fastokens is not installed or does not support this tokenizer"
    for texts in (hard_texts(), [sample[number] for number in spread_sample(sample, SAMPLE_BYTES)]):
        if (reason := _reason_against(encoder, texts, tokenizer)) is not None:
            return reference_encoder(tokenizer), reason
    return encoder, None


def _reason_against(encoder: Encoder, texts: Sequence[str], tokenizer: Tokenizer) -> str | None:
    """Why ``encoder`` cannot replace the tokenizers library for ``texts``; None if it can."""
    try:
        wrong = find_difference(encoder.encode(texts), texts, range(len(texts)), tokenizer)
    except Exception as error:  # an error of the library must not end the command
        return f"{encoder.name} failed: {error}"
    return None if wrong is None else f"{encoder.name} {wrong}"


def speed_up_typing(tokenizer: Tokenizer) -> bool:
    """Let :meth:`Tokenizer.encode_typed` encode new lines with fastokens; return whether it does.

    Nothing changes if fastokens is not installed, does not support the tokenizer, or gives other
    ids for one of :func:`hard_texts`. Comparing them takes 0.1 s. Lines that are longer than the
    compared texts are encoded with the tokenizers library.
    """
    encoder = fastokens_encoder(tokenizer)
    texts = [text for text in hard_texts() if len(text) <= _MAX_TYPED]
    if encoder is None or _reason_against(encoder, texts, tokenizer) is not None:
        return False

    def encode(text: str) -> list[int]:
        if len(text) > _MAX_TYPED:
            return tokenizer.encode(text)
        ids: list[int] = encoder.encode([text]).ids.tolist()
        return ids

    tokenizer.encode_typed_with(encode)
    return True


def find_difference(
    encoded: Encoded, texts: Sequence[str], numbers: Sequence[int], tokenizer: Tokenizer
) -> str | None:
    """Compare ``encoded`` with the tokenizers library; None if there is no difference.

    The ids of the texts ``numbers`` are compared, and the number of bytes of all texts.
    """
    if len(encoded.offsets) != len(texts) + 1 or encoded.offsets[-1] != len(encoded.ids):
        return f"encoded {len(encoded.offsets) - 1} of {quantity(len(texts), 'text')}"
    sizes = np.array([len(token) for token in tokenizer.token_bytes], np.int64)
    if len(encoded.ids) and int(encoded.ids.max()) >= len(sizes):
        return "gives ids that are not in the vocabulary"
    ends = np.concatenate([[0], np.cumsum(sizes[encoded.ids])])
    written = np.diff(ends[encoded.offsets])
    given = np.array([len(text.encode()) for text in texts], np.int64)
    if (wrong := np.flatnonzero(written != given)).size:
        return f"loses bytes of {texts[int(wrong[0])][:40]!r}"
    expected = tokenizer.encode_batch([texts[number] for number in numbers])
    for number, ids in zip(numbers, expected, strict=True):
        if encoded.text_ids(number).tolist() != ids:
            return f"gives other ids than tokenizers for {texts[number][:40]!r}"
    return None


def hard_texts() -> list[str]:
    """Texts on which encoders are known to differ: long runs, unusual white space, letters of
    other scripts, the names of special tokens.
    """
    runs = [f"x = 1\n{run * n}y z\n" for run in _RUNS for n in _RUN_LENGTHS]
    line = "    def f(self, x=1):\r\n\treturn {'a': x ** 2}  # é\n"
    long_runs = [f"x = 1\n{run * _LONG}y z\n" for run in _LONG_RUNS]
    return [*_ODD, *runs, *long_runs, line * 900]


def spread_sample(texts: Sequence[str], num_bytes: int) -> list[int]:
    """Indices of about ``num_bytes`` of ``texts``, evenly spread; at least one."""
    wanted = max(1, len(texts) * num_bytes // max(1, sum(map(len, texts))))
    step = max(1, len(texts) // wanted)
    chosen: list[int] = []
    taken = 0
    for number in range(step // 2, len(texts), step):
        chosen.append(number)
        taken += len(texts[number])
        if taken >= num_bytes:
            break
    return chosen
