"""Fill in the middle: a piece of a document, cut in three and put in another order.

PSM: ``<fim_prefix> prefix <fim_suffix> suffix <fim_middle> middle``; SPM, suffix first:
``<fim_prefix> <fim_suffix> suffix <fim_middle> prefix middle``. The cuts fall between any two
characters, tokens or not, because an editor's cursor does. What is decided is a function of
the seed and the position alone. This module must not know how pieces are packed.
Source: Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle"
(character-level cuts, the joint PSM and SPM mixture, SPM's variant 2).
"""

from dataclasses import dataclass

from codeling.dataset.rng import Purpose, generator
from codeling.tokenizer.parts import Encode
from codeling.tokenizer.tokenizer import Tokenizer

NUM_MARKERS = 3
"""Special tokens that a rearranged piece has more than a plain one."""


@dataclass(frozen=True)
class Infilling:
    """How often, and from which seed."""

    rate: float
    """Share of documents whose pieces are rearranged."""
    spm_rate: float
    """Share of rearranged pieces in SPM order."""
    seed: int

    def chooses(self, epoch: int, document: int) -> bool:
        """Whether the pieces of this document are rearranged in this epoch."""
        draws = generator(Purpose.INFILLING_CHOICE, self.seed, epoch, document)
        return bool(draws.random() < self.rate)

    def rearrange(
        self, length: int, tokenizer: Tokenizer, position: tuple[int, int, int], encode: Encode
    ) -> list[int]:
        """Ids of a text of ``length`` characters in three parts with their markers.

        ``position`` is (epoch, document, offset of the piece in its document, in tokens).
        ``encode`` gives the ids of any part of the text.
        """
        draws = generator(Purpose.INFILLING_CUTS, self.seed, *position)
        first, second = sorted(draws.integers(0, length + 1, size=2).tolist())
        if draws.random() < self.spm_rate:
            head = [tokenizer.fim_prefix, tokenizer.fim_suffix, *encode(second, length)]
            return [*head, tokenizer.fim_middle, *encode(0, second)]
        head = [tokenizer.fim_prefix, *encode(0, first)]
        tail = [tokenizer.fim_suffix, *encode(second, length)]
        return [*head, *tail, tokenizer.fim_middle, *encode(first, second)]
