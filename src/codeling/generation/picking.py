"""From the logits of a step to the next tokens of its sequences.

For each token: the memory changes the distribution, constraints mask it, and an id is picked and
appended. A drafted token that was picked gives the logits for the one after it, so its sequence
gets several tokens in a step, the same as without a draft. This module must not know how logits are
computed.
"""

import math
import sys
from collections.abc import Callable
from collections.abc import Sequence as Ordered

import numpy as np
from numpy.typing import NDArray

from codeling.generation.constraints import Constraints
from codeling.generation.logprobs import most_likely
from codeling.generation.runners.denominators import log_denominators, padded_copy
from codeling.generation.sampling import sample
from codeling.generation.scheduler import Batch
from codeling.generation.sequence import Sequence
from codeling.tokenizer.healing import Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer


class Picker:
    """Picks tokens for one tokenizer and model."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        vocab_size: int,
        branch: Callable[[Sequence, int, float], None],
    ) -> None:
        """``vocab_size`` is the model's, which may be larger than the tokenizer's.

        ``branch`` follows another first token, of some probability, of a sequence.
        """
        self._branch = branch
        self._vocabulary = vocabulary
        self._end_of_text = tokenizer.end_of_text
        self._constraints = Constraints(tokenizer, vocabulary, vocab_size)

    def pick_all(self, logits: NDArray[np.float32], batch: Batch) -> None:
        """Append the next tokens of all sequences of a step. Changes ``logits``."""
        if len(logits) == len(batch.picking):  # no drafts
            self.pick(logits, batch.picking)
            return
        active: list[tuple[int, list[int], Sequence]] = []
        first = 0
        for row, sequence in zip(batch.rows, batch.sequences, strict=True):
            if row.num_logits:
                active.append((first, row.ids[len(row.ids) - row.num_logits + 1 :], sequence))
                first += row.num_logits
        depth = 0
        while active:
            places = [first + depth for first, _, _ in active]
            self.pick(logits[places], [sequence for _, _, sequence in active])
            active = [
                (first, draft, sequence)
                for first, draft, sequence in active
                if depth < len(draft)
                and not sequence.has_ended
                and sequence.ids[-1] == draft[depth]
            ]
            depth += 1

    def pick(self, logits: NDArray[np.float32], sequences: Ordered[Sequence]) -> None:
        """Append one token to each sequence, from ``logits`` (B, V), which are changed."""
        for scores, sequence in zip(logits, sequences, strict=True):
            if sequence.memory is not None:
                sequence.memory.mix(scores)
        recording = [
            row for row, each in enumerate(sequences) if each.request.num_logprobs is not None
        ]
        unconstrained = logits[recording]
        self._constraints.apply(logits, sequences)
        ids = sample(logits, [sequence.draw for sequence in sequences])
        for row, scores in zip(recording, unconstrained, strict=True):
            num_top = sequences[row].request.num_logprobs or 0
            sequences[row].logprobs.append(most_likely(scores, ids[row], num_top))
        measured = [
            row for row, each in enumerate(sequences) if each.params.min_probability is not None
        ]
        totals = log_denominators(padded_copy(logits, measured)).tolist() if measured else []
        for row, total in zip(measured, totals, strict=True):
            scores, sequence, picked = logits[row], sequences[row], ids[row]
            if not sequence.num_new and sequence.params.num_branches > 1:
                for token, probability in _other_beginnings(scores - total, picked, sequence):
                    self._branch(sequence, token, probability)
            sequence.add_probability(math.exp(scores[picked] - total))
        for sequence, picked in zip(sequences, ids, strict=True):
            sequence.append(picked, self._vocabulary, self._end_of_text)


def _other_beginnings(
    logprobs: NDArray[np.float32], picked: int, sequence: Sequence
) -> list[tuple[int, float]]:
    """First tokens of ``sequence`` that are followed beside ``picked``, with their probabilities.

    ``logprobs`` is (V,). Of equally likely tokens the lowest is preferred.
    """
    least = math.log(sequence.params.branch_probability or sys.float_info.min)
    (ids,) = np.nonzero(logprobs >= least)
    likely = ids[np.argsort(-logprobs[ids], kind="stable")][: sequence.params.num_branches]
    return [(each, math.exp(logprobs[each])) for each in likely.tolist() if each != picked]
