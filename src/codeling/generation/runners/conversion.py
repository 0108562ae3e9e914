"""A torch network as the weights of the fast runner."""

from typing import Any

import numpy as np
from torch import Tensor

from codeling.generation.runners.fast import Floats, Matrix, Weights, matrix
from codeling.model.gpt2 import GPT2


def convert(model: GPT2, *, int8: bool = False) -> Weights:
    """The weights of ``model``, copied; its matrices as int8 if asked for."""

    def layer(module: Any) -> Matrix:
        return matrix(_floats(module.weight).T, _floats(module.bias), int8=int8)

    blocks: list[Any] = list(model.h)
    norms = [[block.ln_1, block.ln_2] for block in blocks] + [[model.ln_f, model.ln_f]]
    return Weights(
        model.config.n_head,
        model.config.layer_norm_epsilon,
        matrix(_floats(model.wte.weight), np.zeros(model.config.vocab_size, np.float32), int8=int8),
        _floats(model.wpe.weight),
        np.stack(
            [[_floats(t) for norm in pair for t in (norm.weight, norm.bias)] for pair in norms]
        ),
        [
            (
                layer(block.attn.c_attn),
                layer(block.attn.c_proj),
                layer(block.mlp.c_fc),
                layer(block.mlp.c_proj),
            )
            for block in blocks
        ],
    )


def _floats(tensor: Tensor) -> Floats:
    return np.array(tensor.detach().cpu().float().numpy(), np.float32)
