"""GPT-2 with a tied head, and its loss.

Parameter names, layouts (``Conv1D``: input first, output second) and arithmetic are those of GPT-2,
so Hugging Face's ``GPT2LMHeadModel`` reads the weights and computes the same logits. Weights are
fp32; :attr:`GPT2.compute_dtype` is the type of the forward and backward pass, to which weights are
cast where they are used. This module must not know where weights or ids come from.

Shapes: B sequences, T positions, C width, H heads, D head width, V vocabulary.
Sources: Radford et al. 2019; the loss without its logits in memory: Wijmans et al. 2024 ("Cut Your
Losses"), Hsu et al. 2024 (Liger kernels).
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from codeling.model.attention import causal_attention, split_heads
from codeling.model.cache import CacheRows
from codeling.model.config import GPT2Config

LOSS_CHUNK_POSITIONS = 1024
"""Positions whose logits are in memory at the same time, on a CPU."""

_LOSS_CHUNK_POSITIONS_ON_ACCELERATOR = 8192
"""On an accelerator, accumulating the head's gradient costs as much as 1,000 positions."""


def loss_chunk_positions(device: torch.device) -> int:
    """Positions whose logits are in memory at the same time when training on ``device``."""
    return LOSS_CHUNK_POSITIONS if device.type == "cpu" else _LOSS_CHUNK_POSITIONS_ON_ACCELERATOR


class Conv1D(nn.Module):
    """GPT-2's linear layer: ``x @ weight + bias`` with ``weight`` of shape (in, out)."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_in, num_out))
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) → (..., out), in the dtype of ``x``."""
        flat = torch.addmm(
            self.bias.to(x.dtype), x.reshape(-1, x.size(-1)), self.weight.to(x.dtype)
        )
        return flat.view(*x.shape[:-1], -1)


class Embedding(nn.Embedding):
    """An embedding whose weights are left uninitialized.

    Drawing them is wasted on a model that is loaded, and on the meta device it imports
    ``torch._dynamo``, which takes longer than the import of torch itself.
    """

    def reset_parameters(self) -> None:
        """Do nothing."""


class LayerNorm(nn.Module):
    """Normalization over C with gain and bias; statistics in fp32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., C), in the dtype of ``x``."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, weight.shape, weight, bias, self.epsilon)


class Attention(nn.Module):
    """Causal multi-head self-attention with a fused projection for query, key and value."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, cache: CacheRows | None, segments: Tensor | None = None) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        fused = self.c_attn(x)
        if cache is None:
            y = causal_attention(fused, self.n_head, segments)
            return self.c_proj(y)  # type: ignore[no-any-return]
        rows, length, width = x.shape
        query, key, value = split_heads(fused, self.n_head)
        y = cache.attend(self.layer, query, key, value)
        return self.c_proj(y.transpose(1, 2).reshape(rows, length, width))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two linear layers with a hidden width of 4 C and GPT-2's tanh GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: attention and MLP, each pre-normalized and with a residual connection."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config, layer)
        self.ln_2 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config.n_embd)

    def forward(self, x: Tensor, cache: CacheRows | None, segments: Tensor | None = None) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        x = x + self.attn(self.ln_1(x), cache, segments)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class GPT2(nn.Module):
    """The model. :meth:`forward` gives logits, :meth:`loss` the training loss."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.recompute_activations = False
        """Activation checkpointing: recompute the blocks in the backward pass to save memory."""
        self._chunk_loss: Callable[..., Any] = chunk_loss
        self._is_compiled = False
        self.wte = Embedding(config.vocab_size, config.n_embd)
        self.wpe = Embedding(config.context_length, config.n_embd)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def compile_for_training(self) -> None:
        """Compile the blocks, which share their code, and the loss of a chunk.

        Passes without gradients stay eager: generation would compile for every length.
        """
        for block in self.h:
            block.compile(dynamic=False)
        self._chunk_loss = torch.compile(chunk_loss)
        self._is_compiled = True

    def initialize(self, seed: int) -> None:
        """Draw new weights from a normal distribution with GPT-2's standard deviation of 0.02.

        Layers that write to the residual stream start at zero, so each block is the identity.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif ".ln_" in name or name.startswith("ln_f"):
                nn.init.ones_(parameter)
            elif name.endswith("c_proj.weight"):
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.02, generator=generator)

    def hidden(
        self,
        input_ids: Tensor,
        cache: CacheRows | None = None,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Ids (B, T) → final hidden states (B, T, C), normalized, in :attr:`compute_dtype`.

        ``positions`` (T,) or (B, T) default to 0 … T-1, or to what follows in ``cache``. With
        ``segments`` (B, T) a position attends only to positions of the same segment.
        """
        if positions is None:
            positions = (
                torch.arange(input_ids.size(1), device=input_ids.device)
                if cache is None
                else cache.positions
            )
        x = (self.wte(input_ids) + self.wpe(positions)).to(self.compute_dtype)
        is_training = torch.is_grad_enabled()
        eagerly = self._is_compiled and not is_training
        with torch.compiler.set_stance("force_eager") if eagerly else nullcontext():
            for block in self.h:
                if self.recompute_activations and is_training:
                    x = checkpoint(block, x, cache, segments, use_reentrant=False)
                else:
                    x = block(x, cache, segments)
        return self.ln_f(x)  # type: ignore[no-any-return]

    def forward(
        self,
        input_ids: Tensor,
        cache: CacheRows | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Ids (B, T) → logits (B, T, V)."""
        return self.head(self.hidden(input_ids, cache, positions))

    def head(self, hidden: Tensor) -> Tensor:
        """Last hidden states (..., C) → logits (..., V): the head is tied to the embedding."""
        return functional.linear(hidden, self.wte.weight.to(hidden.dtype))

    def loss(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Mean cross entropy in nats per token of ``target_ids`` (B, T), an fp32 scalar."""
        objective, _ = self.objective(input_ids, target_ids)
        return objective

    def objective(
        self,
        input_ids: Tensor,
        target_ids: Tensor,
        *,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        sequence_weights: Tensor | None = None,
        z_loss: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """The training objective, and the mean cross entropy in nats per token; fp32 scalars.

        They differ only by ``sequence_weights`` (B,), which scale the cross entropy of each
        sequence, and ``z_loss``, the weight of the squared log of the softmax denominator
        (Chowdhery et al. 2022, PaLM). Only the objective has a gradient.
        """
        x = self.hidden(input_ids, None, positions, segments)
        weights = None
        if sequence_weights is not None:
            weights = sequence_weights.repeat_interleave(target_ids.size(1)).unsqueeze(1)
        objective, nats = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, x.size(-1)),
            self.wte.weight,
            target_ids.reshape(-1),
            torch.is_grad_enabled(),
            weights,
            z_loss,
            self._chunk_loss,
        )
        return objective / target_ids.numel(), nats / target_ids.numel()

    @torch.no_grad()
    def token_nats(
        self,
        input_ids: Tensor,
        target_ids: Tensor,
        positions: Tensor | None = None,
        segments: Tensor | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Cross entropy of each token of ``target_ids`` (B, T) in nats, fp32 (B, T).

        Zero where ``wanted`` (B, T) is False; the head, most of a small model, is skipped there.
        """
        if wanted is None:
            wanted = torch.ones_like(target_ids, dtype=torch.bool)
        x = self.hidden(input_ids, None, positions, segments)
        x, head = x[wanted], self.wte.weight.to(x.dtype)
        targets = target_ids[wanted].unsqueeze(1)
        chunks = [
            torch.log_softmax(rows @ head.T, dim=-1, dtype=torch.float32).gather(1, target)
            for rows, target in zip(
                torch.split(x, LOSS_CHUNK_POSITIONS),
                torch.split(targets, LOSS_CHUNK_POSITIONS),
                strict=True,
            )
        ]
        nats = torch.zeros(target_ids.shape, dtype=torch.float32, device=x.device)
        nats[wanted] = -torch.cat(chunks).squeeze(1)
        return nats


class _LinearCrossEntropy(torch.autograd.Function):
    """Head and cross entropy fused, in chunks of positions.

    The gradient is computed while the logits of a chunk are in memory, so no (B·T, V) matrix is
    kept. Takes ``hidden`` (N, C), ``weight`` (V, C) and ``targets`` (N,); returns two sums over
    N: the objective, and the cross entropy in nats, which has no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        with_gradient: bool,
        weights: Tensor | None,
        z_loss: float,
        chunk_loss: Callable[..., Any],
    ) -> tuple[Tensor, Tensor]:
        head = weight.to(hidden.dtype)
        nats = torch.zeros((), dtype=torch.float32, device=hidden.device)
        objective = torch.zeros_like(nats)
        hidden_gradient = torch.empty_like(hidden) if with_gradient else None
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if with_gradient else None
        step = loss_chunk_positions(hidden.device)
        for start in range(0, len(hidden), step):
            rows = slice(start, start + step)
            x = hidden[rows]
            weighted = None if weights is None else weights[rows]
            sums, gradient = chunk_loss(
                x @ head.T, targets[rows].unsqueeze(1), weighted, z_loss, with_gradient
            )
            nats -= sums[0]
            objective -= sums[1]
            if hidden_gradient is not None and weight_gradient is not None:
                hidden_gradient[rows] = gradient @ head
                weight_gradient += gradient.T @ x
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        ctx.mark_non_differentiable(nats)
        return objective, nats

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = outputs[0]
        return hidden_gradient * scale, weight_gradient * scale, None, None, None, None, None


def chunk_loss(
    logits: Tensor,
    target: Tensor,
    weights: Tensor | None,
    z_loss: float,
    with_gradient: bool,
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The loss of ``logits`` (N, V) and ``target`` (N, 1).

    Returns the negated sums (cross entropy, objective), and the gradient (N, V) of the objective in
    the dtype of the logits. Without a gradient, returns the logits in its place.
    """
    log_probabilities = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
    picked = log_probabilities.gather(1, target)
    total = picked.sum()
    wanted = total
    if z_loss:
        denominator = logits.gather(1, target).float() - picked
        per_token = picked - z_loss * denominator.square()
        wanted = (per_token if weights is None else weights * per_token).sum()
    elif weights is not None:
        wanted = (weights * picked).sum()
    if not with_gradient:
        return (total, wanted), logits
    gradient = log_probabilities.exp_()
    if z_loss:
        gradient *= 1 + 2 * z_loss * denominator
    if logits.device.type == "cpu":
        gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
    else:  # compiles into one pass with its surroundings; a scatter does not
        gradient -= (torch.arange(logits.size(1), device=target.device) == target).float()
    if weights is not None:
        gradient *= weights
    return (total, wanted), gradient.to(logits.dtype)
