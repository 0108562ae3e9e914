"""The data of a training: from the token files of a run folder to loaders.

Which sequences a run reads depends on its length, so the loader is made once that is planned.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codeling.dataset.bigrams import Bigrams, count_bigrams
from codeling.dataset.infilling import SYNTAX_RATE, Infilling
from codeling.dataset.loader import Loader, Mixture
from codeling.dataset.tokens import TokenFile
from codeling.recipe import TrainingRecipe
from codeling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class TrainingData:
    """The tokens that a run is trained and validated on."""

    tokenizer: Tokenizer
    train: TokenFile
    validation: TokenFile
    owners: NDArray[np.int64] | None = None
    """Repository number of each document of ``train``; None: all of one repository."""

    def loader(self, recipe: TrainingRecipe, context_length: int, num_tokens: int) -> Loader:
        """Build the training data loader of a run of ``num_tokens``.

        :raises CorpusError: the split is empty.
        """
        mixture = None
        if self.owners is not None:
            mixture = Mixture(self.owners, num_tokens, recipe.mixture_exponent)
        syntax_rate = SYNTAX_RATE if recipe.infilling_cuts == "syntax" else 0.0
        infilling = Infilling(recipe.fim_rate, recipe.fim_spm_rate, recipe.seed, syntax_rate)
        return Loader(self.train, self.tokenizer, context_length, recipe.seed, infilling, mixture)

    def validation_loader(self, context_length: int) -> Loader:
        """Build the validation loader, the same for every recipe.

        :raises CorpusError: the split is empty.
        """
        return Loader(self.validation, self.tokenizer, context_length, seed=0)

    def bigrams(self, vocab_size: int) -> Bigrams:
        """Counts of consecutive tokens in the train split."""
        return count_bigrams(self.train, vocab_size, self.tokenizer.end_of_text)

    def sizes(self) -> dict[str, int]:
        """Size of the train split, for the log."""
        return {
            "corpus_documents": self.train.num_documents,
            "corpus_tokens": self.train.num_tokens,
            "corpus_bytes": int(self.train.num_bytes.sum()),
        }
