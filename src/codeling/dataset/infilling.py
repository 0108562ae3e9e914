"""Fill in the middle: cut a piece of a document in three, and reorder the parts.

PSM: ``<fim_prefix> prefix <fim_suffix> suffix <fim_middle> middle``; SPM, suffix first:
``<fim_prefix> <fim_suffix> suffix <fim_middle> prefix middle``. Cuts fall between any two
characters, whether a token ends there or not, because an editor's cursor does. With syntactic cuts,
every second middle is one that a person would write (:mod:`codeling.dataset.syntax_cuts`). All
choices are a function of the seed and the position. This module must not know how pieces are
packed.
Source: Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle"
(character-level cuts, the joint PSM and SPM mixture, SPM's variant 2).
"""

from dataclasses import dataclass

from codeling.dataset.rng import Purpose, generator
from codeling.dataset.syntax_cuts import choose_middle
from codeling.tokenizer.substrings import Encode
from codeling.tokenizer.tokenizer import Tokenizer

NUM_MARKERS = 3
"""Special tokens that rearranging adds to a piece."""
SYNTAX_RATE = 0.5
"""Share of pieces cut along the syntax with ``infilling_cuts = "syntax"``, as in
Falcon-H1-Tiny-Coder."""


@dataclass(frozen=True)
class Infilling:
    """The share of documents that are rearranged, and the order of their parts."""

    rate: float
    """Share of documents whose pieces are rearranged."""
    spm_rate: float
    """Share of rearranged pieces in SPM order."""
    seed: int
    syntax_rate: float = 0.0
    """Share of rearranged pieces that are cut along the syntax."""

    def chooses(self, epoch: int, document: int) -> bool:
        """Whether to rearrange the pieces of this document in this epoch."""
        random = generator(Purpose.INFILLING_CHOICE, self.seed, epoch, document)
        return bool(random.random() < self.rate)

    def rearrange(
        self, text: str, tokenizer: Tokenizer, position: tuple[int, int, int], encode: Encode
    ) -> list[int]:
        """Ids of ``text``, cut in three and marked.

        ``position`` is (epoch, document, offset of the piece in the document, in tokens).
        ``encode(start, end)`` gives the ids of a substring of the text.
        """
        random = generator(Purpose.INFILLING_CUTS, self.seed, *position)
        length = len(text)
        first, second = sorted(random.integers(0, length + 1, size=2).tolist())
        suffix_first = random.random() < self.spm_rate
        if self.syntax_rate and random.random() < self.syntax_rate:
            first, second = choose_middle(text, random) or (first, second)
        if suffix_first:
            head = [tokenizer.fim_prefix, tokenizer.fim_suffix, *encode(second, length)]
            return [*head, tokenizer.fim_middle, *encode(0, second)]
        head = [tokenizer.fim_prefix, *encode(0, first)]
        tail = [tokenizer.fim_suffix, *encode(second, length)]
        return [*head, *tail, tokenizer.fim_middle, *encode(first, second)]
