"""Learning a vocabulary: byte-level BPE over the pieces that :mod:`.pretokenizer` cuts.

The learning itself is the tokenizers library's (Rust). This module decides what it sees, in
which order, and which entries are fixed: the five special tokens, then the 256 bytes, so that
every byte string can be written. It must not know where texts come from.
Source of BPE on bytes: Radford et al. 2019, section 2.2.
"""

import hashlib
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from codeling.errors import CorpusError, TokenizerError
from codeling.progress import SILENT, Advance, Progress
from codeling.recipe import TokenizerRecipe
from codeling.tokenizer.pretokenizer import byte_decoder, python_pre_tokenizer
from codeling.tokenizer.tokenizer import SPECIAL_TOKENS, Tokenizer

_BATCH_DOCUMENTS = 256


def train(
    texts: Iterable[str],
    recipe: TokenizerRecipe,
    progress: Progress = SILENT,
    *,
    total_bytes: int = 0,
) -> Tokenizer:
    """Learn ``recipe.vocab_size`` entries from ``texts``, read once and in the order given.

    At most ``recipe.max_document_bytes`` of each text count, and of all of them at most
    ``recipe.max_training_bytes``: of texts that have ``total_bytes`` and more than that, so many
    are drawn, from all over the corpus, by ``recipe.seed``. The same texts give the same
    vocabulary, whatever the number of threads.

    :raises CorpusError: there is no text.
    :raises TokenizerError: the texts are too few for that many entries.
    """
    assert recipe.vocab_size is not None, "train() takes a resolved recipe"
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = python_pre_tokenizer()
    core.decoder = byte_decoder()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    total = min(total_bytes, recipe.max_training_bytes) or None
    with progress.task("reading text for the vocabulary", total, "bytes") as advance:
        counted = _Counted(texts, recipe, total_bytes, advance)
        core.train_from_iterator(counted.batches(), trainer)
    if not counted.num_bytes:
        raise CorpusError("no text to learn a vocabulary from: the train split is empty")
    if core.get_vocab_size() < recipe.vocab_size:
        raise TokenizerError(
            f"{counted.num_bytes:,} bytes of text give only {core.get_vocab_size():,} entries; "
            f"lower [tokenizer] vocab_size (now {recipe.vocab_size:,}) or add text"
        )
    return Tokenizer(core)


class _Counted:
    """The texts, cut to what the recipe lets count, and how many bytes that was."""

    def __init__(
        self, texts: Iterable[str], recipe: TokenizerRecipe, total_bytes: int, advance: Advance
    ) -> None:
        share = min(1.0, recipe.max_training_bytes / max(1, total_bytes))
        self._texts = (
            text for number, text in enumerate(texts) if _place(recipe.seed, number) < share
        )
        self._recipe = recipe
        self._advance = advance
        self.num_bytes = 0

    def batches(self) -> Iterator[list[str]]:
        batch: list[str] = []
        for text in self._texts:
            left = self._recipe.max_training_bytes - self.num_bytes
            data = text.encode()[: min(left, self._recipe.max_document_bytes)]
            batch.append(data.decode(errors="ignore"))
            self.num_bytes += len(data)
            if len(batch) == _BATCH_DOCUMENTS:
                yield batch
                self._advance(sum(map(len, batch)))
                batch = []
            if self.num_bytes >= self._recipe.max_training_bytes:
                break
        yield batch


def _place(seed: int, number: int) -> float:
    """Where between 0 and 1 the text of this number falls, drawn for it alone."""
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
