"""The model that a training starts from (``training.init``): shape, tokenizer, weights, digest.

The position table is cut to a shorter context. Rows of the embedding that no token has are dropped;
a token that the model lacks gets the mean of all rows and a little noise, so that its logit is an
average one and not the largest (Hewitt 2021, "Initializing new word embeddings for pretrained
language models"; without its covariance). This module must not know torch.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from codeling.errors import InputError, TokenizerError, UsageError
from codeling.model.config import GPT2Config
from codeling.model.folder import (
    Tensors,
    named_license,
    read_config,
    read_tensors,
    resolve,
    tokenizer_digest,
    weights_sha256,
)
from codeling.recipe.initial_shape import InitialShape
from codeling.tokenizer.pretokenizer import cut_name
from codeling.tokenizer.tokenizer import Tokenizer

_NOISE = 0.1
"""Noise of a new row, as a share of the standard deviation of all rows."""


@dataclass(frozen=True)
class InitialModel:
    """A model folder, without its weights."""

    address: str
    """As the recipe gives it."""
    folder: Path
    config: GPT2Config
    own_tokenizer: Tokenizer
    tokenizer: Tokenizer
    """The same with the tokens for infilling, if the run needs them."""

    @classmethod
    def load(cls, address: str, fim_rate: float) -> "InitialModel":
        """Read a run folder, a Hugging Face folder or ``hf://owner/name``.

        :raises UsageError: it is not a model.
        :raises InputError: the model or its tokenizer is damaged, or they do not belong together.
        """
        try:
            folder = resolve(address)
            config = read_config(folder)
            own = Tokenizer.load(folder)
            if own.vocab_size > config.vocab_size or not own.has_digest(tokenizer_digest(folder)):
                raise TokenizerError(f"{folder}: tokenizer.json is not the model's tokenizer")
        except (InputError, UsageError) as error:
            raise type(error)(f"[training] init: {error}") from error
        tokenizer = own.with_infilling() if fim_rate > 0 else own
        return cls(address, folder, config, own, tokenizer)

    @property
    def shape(self) -> InitialShape:
        """The values that the recipe takes over."""
        config = self.config
        return InitialShape(
            self.address,
            config.n_layer,
            config.n_head,
            config.n_embd,
            config.context_length,
            self.own_tokenizer.vocab_size,
            self.tokenizer.vocab_size,
            cut_name(self.own_tokenizer.to_json()),
        )

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the weights, computed once."""
        return weights_sha256(self.folder)

    @property
    def digests(self) -> dict[str, str]:
        """The digests that identify it as an input of a run."""
        digests = {"weights": self.sha256, "tokenizer": self.tokenizer.digest}
        return {f"the {name} of training.init": digest for name, digest in digests.items()}

    @property
    def license(self) -> str | None:
        """Licence that its model card names, if it names one."""
        return named_license(self.folder)

    def config_for(self, context_length: int) -> GPT2Config:
        """The sizes of the model to train."""
        return replace(
            self.config, context_length=context_length, vocab_size=self.tokenizer.vocab_size
        )

    def weights(self, context_length: int, seed: int) -> Tensors:
        """The tensors of the model to train; new rows are drawn from ``seed``.

        :raises ModelError: the weights are damaged or of another shape.
        """
        tensors = read_tensors(self.folder, self.config)
        tensors["wpe.weight"] = tensors["wpe.weight"][:context_length].copy()
        rows = tensors["wte.weight"][: self.own_tokenizer.vocab_size]
        num_new = self.tokenizer.vocab_size - len(rows)
        noise = np.random.default_rng(seed).standard_normal((num_new, rows.shape[1]), np.float32)
        new = rows.mean(0, dtype=np.float64) + _NOISE * rows.std(0, dtype=np.float64) * noise
        tensors["wte.weight"] = np.concatenate([rows, new.astype(np.float32)])
        return tensors
