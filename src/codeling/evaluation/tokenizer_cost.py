"""The cost, in bits per byte, of splitting text by other rules than the model was trained with.

Both tokenizers have the same vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeling.evaluation.intrinsic import bits_per_byte
from codeling.generation.scoring import TorchScorer
from codeling.progress import SILENT, Progress
from codeling.quantity import quantity
from codeling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from codeling.model.gpt2 import GPT2


@dataclass(frozen=True)
class TokenizerCost:
    """Bits per byte and tokens of the same texts, by the own and by the other rules."""

    num_bytes: int
    own_bits_per_byte: float
    other_bits_per_byte: float
    own_tokens: int
    other_tokens: int

    def __str__(self) -> str:
        """One line for a person."""
        more = 100 * (self.other_bits_per_byte / self.own_bits_per_byte - 1)
        tokens = 100 * (self.other_tokens / self.own_tokens - 1)
        return (
            f"{self.own_bits_per_byte:.3f} bits per byte become {self.other_bits_per_byte:.3f} "
            f"({more:+.1f} %), with {tokens:+.1f} % tokens, "
            f"measured on {quantity(self.num_bytes, 'byte')}"
        )


def tokenizer_cost(
    model: "GPT2",
    own: Tokenizer,
    other: Tokenizer,
    texts: Sequence[str],
    max_bytes: int,
    progress: Progress = SILENT,
) -> TokenizerCost:
    """Measure ``model`` on up to ``max_bytes`` of ``texts``, split by ``own`` and by ``other``.

    :raises InputError: there is no text.
    """
    scorer = TorchScorer(model)
    scores = [
        bits_per_byte(scorer, each, texts, max_bytes=max_bytes, progress=progress)
        for each in (own, other)
    ]
    return TokenizerCost(
        scores[0].num_bytes,
        scores[0].value,
        scores[1].value,
        scores[0].num_tokens,
        scores[1].num_tokens,
    )
