"""Train a tokenizer: byte-level BPE on the pieces that :mod:`.pretokenizer` cuts.

Pieces are counted (:mod:`.counting`) and merges are learned from the counts (:mod:`.merges`), so
memory does not grow with the corpus. The same texts give the same vocabulary, in any order and on
any number of threads. This module chooses the training text and the fixed entries: the five
special tokens, then the 256 bytes, so that every byte string can be encoded. It must not know
where texts come from. Source of byte-level BPE: Radford et al. 2019, section 2.2.
"""

import hashlib
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

from codeling.errors import CorpusError
from codeling.progress import SILENT, Advance, Progress
from codeling.quantity import quantity
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer import merges
from codeling.tokenizer.counting import count_words
from codeling.tokenizer.pretokenizer import byte_decoder, pre_tokenizer_named
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer


def train(
    texts: Iterable[str],
    recipe: TokenizerRecipe,
    progress: Progress = SILENT,
    *,
    total_bytes: int = 0,
    pre_tokenizer: pre_tokenizers.PreTokenizer | None = None,
) -> Tokenizer:
    """Learn up to ``recipe.vocab_size`` entries from ``texts``, read once, in any order.

    Only the first ``recipe.max_document_bytes`` of each text are used. If ``total_bytes``, the size
    of all texts, exceeds ``recipe.max_training_bytes``, about that much is sampled, by
    ``recipe.seed`` and the content of each text. If the total is unknown (0), the first
    ``max_training_bytes`` are used. ``pre_tokenizer`` replaces the recipe's, for comparisons.

    Texts that are too small for ``recipe.vocab_size`` give a smaller vocabulary and a note.

    :raises CorpusError: the texts are empty.
    :raises StorageError: counts that do not fit into memory cannot be written to disk.
    """
    assert isinstance(recipe.vocab_size, int), "train() takes a resolved recipe"
    pre_tokenizer = pre_tokenizer or pre_tokenizer_named(recipe.cut)
    total = min(total_bytes, recipe.max_training_bytes) or None
    with progress.task("reading text for the vocabulary", total, "bytes") as advance:
        sampled = _SampledTexts(texts, recipe, total_bytes, advance)
        counts, left_out = count_words(sampled, pre_tokenizer)
    if not sampled.num_bytes:
        raise CorpusError("no text to train a tokenizer on: the train split is empty")
    if left_out:
        progress.note(f"the tokenizer is trained without the {quantity(left_out, 'rarest word')}")
    fixed = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    entries, learned = merges.learn(counts, fixed, recipe.vocab_size, progress)
    if len(entries) < recipe.vocab_size:
        progress.note(
            f"the vocabulary has {quantity(len(entries), 'entry')} instead of "
            f"{recipe.vocab_size:,}: no pair is left that occurs twice in "
            f"{quantity(sampled.num_bytes, 'byte')} of text"
        )
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    core = tokenizers.Tokenizer(models.BPE(vocabulary, learned))
    core.pre_tokenizer = pre_tokenizer
    core.decoder = byte_decoder()
    core.add_special_tokens([AddedToken(each, special=True) for each in SPECIAL_TOKENS])
    return Tokenizer(core)


class _SampledTexts:
    """The part of the texts that the recipe's limits allow; counts its bytes."""

    def __init__(
        self, texts: Iterable[str], recipe: TokenizerRecipe, total_bytes: int, advance: Advance
    ) -> None:
        self._share = min(1.0, recipe.max_training_bytes / max(1, total_bytes))
        self._texts = texts
        self._recipe = recipe
        self._limit = None if total_bytes else recipe.max_training_bytes
        self._advance = advance
        self.num_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            if self._share < 1 and _position(self._recipe.seed, text) >= self._share:
                continue
            data = text.encode()[: self._recipe.max_document_bytes]
            if self._limit is not None:
                data = data[: self._limit - self.num_bytes]
            yield data.decode(errors="ignore")
            self.num_bytes += len(data)
            self._advance(len(data))
            if self._limit is not None and self.num_bytes >= self._limit:
                return


def _position(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on the seed and the text alone."""
    digest = hashlib.blake2b(f"{seed} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
