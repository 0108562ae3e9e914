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

from codeling.model.gpt2 import GPT2, Attention, Block

POSITIONS = 0.1
"""Their root mean square. That of tokens, once these know their bigrams, is 0.12."""
LOGIT = 12.0
"""Of the place that a head is to look at, where the others' are about zero."""
_GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples are spread evenly, however many they are."""


@torch.no_grad()
def place_positions(model: GPT2) -> None:
    """Give the position embeddings of ``model`` sines and cosines for as many frequencies as a
    head can tell apart, in the first features; the others are zero.
    """
    places = torch.arange(model.config.context_length)[:, None]
    angles = places * _frequencies(model)
    waves = torch.cat([angles.cos(), angles.sin()], 1)
    waves *= POSITIONS * math.sqrt(2 * model.config.n_embd / waves.size(1))
    model.wpe.weight.zero_()
    model.wpe.weight[:, : waves.size(1)] = waves.to(model.wpe.weight)


@torch.no_grad()
def build_heads(model: GPT2, shares: NDArray[np.float64]) -> None:
    """Set the first block's attention, each head one position further back, and the first head of
    the second block, in place.

    ``model`` has had :func:`place_positions`, knows what its tokens mean, and its norms give what
    they are given; ``shares`` (V,) is how often each token is met. A model of one block or one
    head has no room for it and stays as it is.
    """
    config = model.config
    head = config.n_embd // config.n_head
    waves = 2 * len(_frequencies(model))
    width = min(head, (config.n_embd - waves) // 2)
    if config.n_layer < 2 or width < 1:
        return
    first, second = (_attention(model, layer) for layer in range(2))
    tokens = model.wte.weight.cpu().double()
    often = torch.from_numpy(shares)[:, None]
    mean = (often * tokens).sum(0)
    code, unused = _directions(tokens - mean, often, waves, width)

    # Lengths of what is added up: a token, its position, its code. Norms bring all to a root of C.
    token = (often * tokens.square()).sum().sqrt().item()
    position = POSITIONS * math.sqrt(config.n_embd)
    coded = (often * ((tokens - mean) @ code).square()).sum().sqrt().item()
    scale = math.sqrt(config.n_embd / (token**2 + position**2))
    gain = _gain(head, (scale * position) ** 2)
    for number in range(config.n_head):
        _look_back(first, number, 1 + number, gain, model)
    # The first head's note is as long as a token, in directions that tokens hardly use.
    _set(first.c_attn.weight, 2, 0, head, code)
    first.c_attn.bias[2 * config.n_embd :][:width] = -scale * (mean @ code).to(first.c_attn.bias)
    first.c_proj.weight[:width] = (token / (scale * coded) * unused.T).to(first.c_proj.weight)

    scale = math.sqrt(config.n_embd / (2 * token**2 + position**2))
    gain = _gain(head, scale**2 * token * coded)
    _set(second.c_attn.weight, 0, 0, head, gain * code)
    second.c_attn.bias[:width] = -gain * scale * (mean @ code).to(second.c_attn.bias)
    _set(second.c_attn.weight, 1, 0, head, gain * unused)
    _set(second.c_attn.weight, 2, 0, head, code)


def _frequencies(model: GPT2) -> Tensor:
    """Radians a position, (D / 2,), spread over half a turn so that no two distances look alike."""
    pairs = model.config.n_embd // model.config.n_head // 2
    return math.pi * ((torch.arange(pairs) + 0.5) * _GOLDEN % 1)


def _attention(model: GPT2, layer: int) -> Attention:
    block = model.h[layer]
    assert isinstance(block, Block)
    return block.attn


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


def _gain(head: int, product: float) -> float:
    """What queries and keys are each multiplied by, so that a product of so much is LOGIT."""
    return math.sqrt(LOGIT * math.sqrt(head) / product)


def _look_back(attention: Attention, number: int, distance: int, gain: float, model: GPT2) -> None:
    """Make a head attend to what stands ``distance`` positions before."""
    width, head = model.config.n_embd, model.config.n_embd // model.config.n_head
    turn = distance * _frequencies(model)
    pairs = len(turn)
    key = torch.eye(width, 2 * pairs)
    query = torch.zeros(width, 2 * pairs)
    query[:pairs, :pairs] = query[pairs : 2 * pairs, pairs:] = turn.cos().diag()
    query[pairs : 2 * pairs, :pairs] = turn.sin().diag()
    query[:pairs, pairs:] = -turn.sin().diag()
    _set(attention.c_attn.weight, 0, number, head, gain * query)
    _set(attention.c_attn.weight, 1, number, head, gain * key)


def _set(fused: Tensor, part: int, number: int, head: int, columns: Tensor) -> None:
    """Put ``columns`` (C, D or less) for a head of the query (0), key (1) or value (2)."""
    start = part * fused.size(0) + number * head
    fused[:, start : start + columns.size(1)] = columns.to(fused)
