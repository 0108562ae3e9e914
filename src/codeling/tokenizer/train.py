"""Learning a vocabulary: byte-level BPE over the pieces that :mod:`.pretokenizer` cuts.

Pieces are counted (:mod:`.counting`), merges learned from the counts (:mod:`.merges`), so a
large corpus takes no more memory than a small one, and the same texts give the same vocabulary
in any order and on any number of threads. This module decides what counts, and which entries are
fixed: the five special tokens, then the 256 bytes, so that every byte string can be written. It
must not know where texts come from. Source of BPE on bytes: Radford et al. 2019, section 2.2.
"""

import hashlib
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

from codeling.errors import CorpusError, TokenizerError
from codeling.progress import SILENT, Advance, Progress
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
    """Learn ``recipe.vocab_size`` entries from ``texts``, read once; their order does not matter.

    At most ``recipe.max_document_bytes`` of each text count. Of texts that have ``total_bytes``,
    more than ``recipe.max_training_bytes``, about so many are drawn by ``recipe.seed`` and by
    what is in them; where the total is not known, the first ``max_training_bytes`` count.
    ``pre_tokenizer`` is another cut than the recipe's, for comparisons.

    :raises CorpusError: there is no text.
    :raises TokenizerError: the texts are too few for that many entries.
    :raises StorageError: there is no room for counts that do not fit into memory.
    """
    assert isinstance(recipe.vocab_size, int), "train() takes a resolved recipe"
    pre_tokenizer = pre_tokenizer or pre_tokenizer_named(recipe.cut)
    total = min(total_bytes, recipe.max_training_bytes) or None
    with progress.task("reading text for the vocabulary", total, "bytes") as advance:
        counted = _Counted(texts, recipe, total_bytes, advance)
        counts, left_out = count_words(counted, pre_tokenizer)
    if not counted.num_bytes:
        raise CorpusError("no text to learn a vocabulary from: the train split is empty")
    if left_out:
        progress.note(f"{left_out:,} words are too rare to be learned from")
    fixed = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    entries, learned = merges.learn(counts, fixed, recipe.vocab_size, progress)
    if len(entries) < recipe.vocab_size:
        raise TokenizerError(
            f"{counted.num_bytes:,} bytes of text give only {len(entries):,} entries; "
            f"lower [tokenizer] vocab_size (now {recipe.vocab_size:,}) or add text"
        )
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    core = tokenizers.Tokenizer(models.BPE(vocabulary, learned))
    core.pre_tokenizer = pre_tokenizer
    core.decoder = byte_decoder()
    core.add_special_tokens([AddedToken(each, special=True) for each in SPECIAL_TOKENS])
    return Tokenizer(core)


class _Counted:
    """The texts, cut to what the recipe lets count, and how many bytes that was."""

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
            if self._share < 1 and _place(self._recipe.seed, text) >= self._share:
                continue
            data = text.encode()[: self._recipe.max_document_bytes]
            if self._limit is not None:
                data = data[: self._limit - self.num_bytes]
            yield data.decode(errors="ignore")
            self.num_bytes += len(data)
            self._advance(len(data))
            if self._limit is not None and self.num_bytes >= self._limit:
                return


def _place(seed: int, text: str) -> float:
    """Where between 0 and 1 a text falls, drawn for it alone."""
    digest = hashlib.blake2b(f"{seed} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
