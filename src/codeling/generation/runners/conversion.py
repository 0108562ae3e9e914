"""Converts the tensors of a model folder to the weights of the fast runner."""

import numpy as np

from codeling.generation.runners.fast import Floats, Matrix, Weights, matrix
from codeling.model.config import GPT2Config
from codeling.model.folder import Tensors


def convert(config: GPT2Config, tensors: Tensors, *, int8: bool = False) -> Weights:
    """Copy ``tensors`` to :class:`Weights`; with ``int8``, matrices are quantized."""

    def layer(name: str) -> Matrix:
        return matrix(tensors[f"{name}.weight"].T, tensors[f"{name}.bias"], int8=int8)

    def stack(name: str) -> Matrix:
        return Matrix.stack([layer(f"{block}.{name}") for block in blocks])

    def norm(name: str) -> list[Floats]:
        return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]

    blocks = [f"h.{number}" for number in range(config.n_layer)]
    norms = [norm(f"{block}.ln_1") + norm(f"{block}.ln_2") for block in blocks]
    return Weights(
        n_head=config.n_head,
        epsilon=config.layer_norm_epsilon,
        vocab_size=config.vocab_size,
        embedding=matrix(tensors["wte.weight"], np.zeros(config.vocab_size, np.float32), int8=int8),
        positions=np.ascontiguousarray(tensors["wpe.weight"], np.float32),
        norms=np.array([*norms, 2 * norm("ln_f")], np.float32),
        layers=(
            stack("attn.c_attn"),
            stack("attn.c_proj"),
            stack("mlp.c_fc"),
            stack("mlp.c_proj"),
        ),
    )
