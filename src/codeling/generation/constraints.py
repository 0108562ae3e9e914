"""Masks the logits of tokens that must not be picked next, with minus infinity.

Special tokens and vocabulary padding are always masked. While a prompt is being healed, only tokens
that match its removed bytes are allowed. ``<|endoftext|>`` is masked within strings and brackets if
the completion stops at the block's end, unless it is an infilling. A token that would exceed
``max_repeats`` is masked.
"""

from collections.abc import Sequence as Ordered

import numpy as np
from numpy.typing import NDArray

from codeling.generation.sequence import Sequence
from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer


class Constraints:
    """The constraints of one tokenizer and model."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: Vocabulary, vocab_size: int) -> None:
        """``vocab_size`` is the model's, which may be larger than the tokenizer's."""
        self._vocabulary = vocabulary
        self._end_of_text = tokenizer.end_of_text
        never = set(range(tokenizer.vocab_size, vocab_size))
        never |= tokenizer.special_ids - {tokenizer.end_of_text}
        self._never = np.array(sorted(never), np.int64)

    def apply(self, logits: NDArray[np.float32], sequences: Ordered[Sequence]) -> None:
        """Mask ``logits`` (B, V) in place; row b belongs to ``sequences[b]``."""
        logits[:, self._never] = -np.inf
        for scores, sequence in zip(logits, sequences, strict=True):
            if sequence.pending:
                allowed = self._vocabulary.allowed(sequence.pending)
                kept = scores[allowed]
                scores[:] = -np.inf
                scores[allowed] = kept
            must_close = sequence.params.stop_at_block_end and not sequence.is_infilling
            if must_close and sequence.output.is_open:
                scores[self._end_of_text] = -np.inf
            if sequence.cycles and not sequence.pending and (ids := sequence.cycles.banned()):
                scores[ids] = -np.inf
