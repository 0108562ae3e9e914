"""Induction heads set in the initial weights, so that training does not have to find them.

Code repeats itself: a name is often followed by what followed it before. An induction head
(Elhage et al. 2021; Olsson et al. 2022) predicts that with two heads in consecutive blocks. A head
of the first block adds to each position a code of the token before it. A head of the second block
attends to the positions whose code names the current token, and copies the token there. Training
finds such heads late, so here the attention weights are set to them; training then changes them
like all other weights. Structured initial attention: Trockman & Kolter 2023, "Mimetic
Initialization of Self-Attention Layers". The position embeddings start as sines and cosines
(Vaswani et al. 2017), because one matrix shifts these by any distance. ``docs/log.md`` has the
measurements ("Induction heads before the first step").

Shapes: T positions, C width, D head width, V vocabulary, W width of a token's code (at most D).
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2, Attention, Block

POSITION_RMS = 0.1
"""Root mean square of the position embeddings. Token embeddings trained on bigrams have 0.12."""
ATTENTION_LOGIT = 12.0
"""Logit of the position that a head attends to; the logits of the others are about zero."""
QUERY, KEY, VALUE = range(3)
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
"""The fractional parts of its multiples are evenly spread for any number of them."""


@torch.no_grad()
def init_position_embeddings(model: GPT2) -> None:
    """Set the position embeddings to sines and cosines of D / 2 frequencies, in place.

    These fill the first features; the other features are zero.
    """
    config = model.config
    angles = torch.outer(torch.arange(config.context_length), _frequencies(config))
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    waves *= POSITION_RMS * math.sqrt(2 * config.n_embd / waves.size(1))
    model.wpe.weight.zero_()
    model.wpe.weight[:, : waves.size(1)] = waves.to(model.wpe.weight)


@torch.no_grad()
def init_induction_heads(model: GPT2, token_frequencies: NDArray[np.float64]) -> None:
    """Set the first block's attention and the first head of the second block's, in place.

    Head n of the first block attends n + 1 positions back. ``model`` has the position embeddings
    of :func:`init_position_embeddings`, trained token embeddings, and norms before attention as
    initialised. ``token_frequencies`` (V,) sum to 1. A model with one block, or with heads as wide
    as the model, is left as it is.
    """
    config = model.config
    num_waves = 2 * len(_frequencies(config))
    width = min(config.n_embd // config.n_head, (config.n_embd - num_waves) // 2)
    if config.n_layer < 2 or width < 1:
        return
    first, second = _attention(model, 0), _attention(model, 1)
    tokens = model.wte.weight.cpu().double()
    frequencies = torch.from_numpy(token_frequencies)[:, None]
    mean = (frequencies * tokens).sum(0)
    code, unused = _principal_directions(tokens - mean, frequencies, num_waves, width)

    # Lengths of the vectors that enter a norm; the norm scales their sum to length sqrt(C).
    token_length = (frequencies * tokens.square()).sum().sqrt().item()
    position_length = POSITION_RMS * math.sqrt(config.n_embd)
    code_length = (frequencies * ((tokens - mean) @ code).square()).sum().sqrt().item()

    scale = math.sqrt(config.n_embd / (token_length**2 + position_length**2))
    gain = _gain(config, (scale * position_length) ** 2)
    for head in range(config.n_head):
        _set_head(first, QUERY, head, gain * _shift_matrix(config, 1 + head))
        _set_head(first, KEY, head, gain * _shift_matrix(config, 0))
    # The first head adds a code as long as a token, in directions that tokens hardly use.
    _set_head(first, VALUE, 0, code, -scale * (mean @ code))
    projection = token_length / (scale * code_length) * unused.T
    first.c_proj.weight[:width] = projection.to(first.c_proj.weight)

    scale = math.sqrt(config.n_embd / (2 * token_length**2 + position_length**2))
    gain = _gain(config, scale**2 * token_length * code_length)
    _set_head(second, QUERY, 0, gain * code, -gain * scale * (mean @ code))
    _set_head(second, KEY, 0, gain * unused)
    _set_head(second, VALUE, 0, code)


def _frequencies(config: GPT2Config) -> Tensor:
    """Frequencies (D / 2,) in radians per position, spread over (0, pi)."""
    pairs = config.n_embd // config.n_head // 2
    return math.pi * ((torch.arange(pairs) + 0.5) * _GOLDEN_RATIO % 1)


def _shift_matrix(config: GPT2Config, distance: int) -> Tensor:
    """Matrix (C, 2 * (D // 2)) from a position embedding to the one ``distance`` positions back."""
    angles = distance * _frequencies(config)
    cosine, sine = angles.cos().diag(), angles.sin().diag()
    matrix = torch.zeros(config.n_embd, 2 * len(angles))
    matrix[: 2 * len(angles)] = torch.cat(
        [torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)]
    )
    return matrix


def _principal_directions(
    tokens: Tensor, frequencies: Tensor, num_waves: int, width: int
) -> tuple[Tensor, Tensor]:
    """Directions in which ``tokens`` (V, C) differ most and least, as orthonormal columns (C, W).

    The first ``num_waves`` features hold positions and stay zero. Each token is weighted by the
    square root of its frequency (V, 1).
    """
    features = tokens[:, num_waves:]
    ascending = torch.linalg.eigh((features * frequencies.sqrt()).T @ features).eigenvectors
    columns = torch.zeros(2, tokens.size(1), width, dtype=tokens.dtype)
    columns[0, num_waves:] = ascending[:, -width:]
    columns[1, num_waves:] = ascending[:, :width]
    return columns[0], columns[1]


def _gain(config: GPT2Config, product: float) -> float:
    """Factor on queries and on keys that raises their ``product`` to :data:`ATTENTION_LOGIT`."""
    return math.sqrt(ATTENTION_LOGIT * math.sqrt(config.n_embd // config.n_head) / product)


def _attention(model: GPT2, layer: int) -> Attention:
    block = model.h[layer]
    assert isinstance(block, Block)
    return block.attn


def _set_head(
    attention: Attention, part: int, head: int, columns: Tensor, bias: Tensor | None = None
) -> None:
    """Set the first columns of a head's query, key or value: ``columns`` (C, at most D)."""
    fused, width = attention.c_attn.weight, attention.c_attn.weight.size(0)
    start = part * width + head * (width // attention.n_head)
    place = slice(start, start + columns.size(1))
    fused[:, place] = columns.to(fused)
    if bias is not None:
        attention.c_attn.bias[place] = bias.to(fused)
