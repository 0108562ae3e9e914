"""Heads that copy, built before training instead of found by it.

Much of a program has stood in it before: a name goes on as it did the last time. What finds that
is an induction head (Elhage et al. 2021; Olsson et al. 2022), two heads in a row. One, in the
first block, notes beside each token which one stood before it; the other, in the second, looks for
the notes that name the current token, and reads what stands there. Networks come to that by
themselves, late. Here they begin with it, in weights like all others, which training goes on from:
attention that begins with a purpose is Trockman & Kolter's (2023, "Mimetic Initialization of
Self-Attention Layers"). Positions begin as sines and cosines (Vaswani et al. 2017), since one
matrix turns these back by any distance. ``docs/results.md`` has what it brings.

Shapes: T positions, C width, D head width, V vocabulary, W width of a token's code, D or less.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeling.model.config import GPT2Config
from codeling.model.gpt2 import GPT2, Attention, Block

POSITIONS = 0.1
"""Their root mean square. That of tokens, once these know their bigrams, is 0.12."""
LOGIT = 12.0
"""Of the place that a head is to look at, where the others' are about zero."""
QUERY, KEY, VALUE = range(3)
_GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples are spread evenly, however many they are."""


@torch.no_grad()
def place_positions(model: GPT2) -> None:
    """Give the position embeddings of ``model`` sines and cosines for as many frequencies as a
    head can tell apart, in the first features; the others are zero.
    """
    config = model.config
    angles = torch.outer(torch.arange(config.context_length), _frequencies(config))
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    waves *= POSITIONS * math.sqrt(2 * config.n_embd / waves.size(1))
    model.wpe.weight.zero_()
    model.wpe.weight[:, : waves.size(1)] = waves.to(model.wpe.weight)


@torch.no_grad()
def build_heads(model: GPT2, shares: NDArray[np.float64]) -> None:
    """Set the first block's attention, each head one position further back, and the first head of
    the second block, in place.

    ``model`` has had :func:`place_positions`, its tokens mean something, and the norms before
    attention are as drawn; ``shares`` (V,) is how often each token is met. A model of one block or
    one head has no room for it and stays as it is.
    """
    config = model.config
    waves = 2 * len(_frequencies(config))
    width = min(config.n_embd // config.n_head, (config.n_embd - waves) // 2)
    if config.n_layer < 2 or width < 1:
        return
    first, second = _attention(model, 0), _attention(model, 1)
    tokens = model.wte.weight.cpu().double()
    often = torch.from_numpy(shares)[:, None]
    mean = (often * tokens).sum(0)
    code, unused = _directions(tokens - mean, often, waves, width)

    # Lengths of what a norm is given, which brings the sum to a root of C: token, position, code.
    token = (often * tokens.square()).sum().sqrt().item()
    position = POSITIONS * math.sqrt(config.n_embd)
    coded = (often * ((tokens - mean) @ code).square()).sum().sqrt().item()

    scale = math.sqrt(config.n_embd / (token**2 + position**2))
    gain = _gain(config, (scale * position) ** 2)
    for head in range(config.n_head):
        _set(first, QUERY, head, gain * _turned_back(config, 1 + head))
        _set(first, KEY, head, gain * _turned_back(config, 0))
    # The first head's note is as long as a token, in directions that tokens hardly use.
    _set(first, VALUE, 0, code, -scale * (mean @ code))
    first.c_proj.weight[:width] = (token / (scale * coded) * unused.T).to(first.c_proj.weight)

    scale = math.sqrt(config.n_embd / (2 * token**2 + position**2))
    gain = _gain(config, scale**2 * token * coded)
    _set(second, QUERY, 0, gain * code, -gain * scale * (mean @ code))
    _set(second, KEY, 0, gain * unused)
    _set(second, VALUE, 0, code)


def _frequencies(config: GPT2Config) -> Tensor:
    """Radians a position, (D / 2,), spread over half a turn so that no two distances look alike."""
    pairs = config.n_embd // config.n_head // 2
    return math.pi * ((torch.arange(pairs) + 0.5) * _GOLDEN % 1)


def _turned_back(config: GPT2Config, distance: int) -> Tensor:
    """From a position's waves to those of ``distance`` positions before, (C, D or one less)."""
    turn = distance * _frequencies(config)
    cosine, sine = turn.cos().diag(), turn.sin().diag()
    columns = torch.zeros(config.n_embd, 2 * len(turn))
    columns[: 2 * len(turn)] = torch.cat(
        [torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)]
    )
    return columns


def _directions(tokens: Tensor, often: Tensor, waves: int, width: int) -> tuple[Tensor, Tensor]:
    """Where ``tokens`` (V, C) differ most and least, each as orthonormal columns (C, W), away
    from the first ``waves`` features. Frequent tokens count more, by the root of ``often`` (V, 1).
    """
    apart = tokens[:, waves:]
    rising = torch.linalg.eigh((apart * often.sqrt()).T @ apart).eigenvectors
    columns = torch.zeros(2, tokens.size(1), width, dtype=tokens.dtype)
    columns[0, waves:] = rising[:, -width:]
    columns[1, waves:] = rising[:, :width]
    return columns[0], columns[1]


def _gain(config: GPT2Config, product: float) -> float:
    """What queries and keys are each multiplied by, so that a product of so much is LOGIT."""
    return math.sqrt(LOGIT * math.sqrt(config.n_embd // config.n_head) / product)


def _attention(model: GPT2, layer: int) -> Attention:
    block = model.h[layer]
    assert isinstance(block, Block)
    return block.attn


def _set(
    attention: Attention, part: int, head: int, columns: Tensor, bias: Tensor | None = None
) -> None:
    """Put ``columns`` (C, D or less) and ``bias`` for a head's query, key or value."""
    fused, width = attention.c_attn.weight, attention.c_attn.weight.size(0)
    start = part * width + head * (width // attention.n_head)
    place = slice(start, start + columns.size(1))
    fused[:, place] = columns.to(fused)
    if bias is not None:
        attention.c_attn.bias[place] = bias.to(fused)
