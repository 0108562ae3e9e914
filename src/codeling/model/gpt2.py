"""The whole network: GPT-2 with a tied head, and its loss.

Parameter names, layouts (``Conv1D``: input first, output second) and arithmetic are GPT-2's,
so Hugging Face's ``GPT2LMHeadModel`` reads the weights and computes the same logits. Weights
are fp32; :attr:`GPT2.compute_dtype` is the type of the forward and backward pass, to which
they are cast where they are used. This module must not know where weights or ids come from.

Shapes: B rows, T positions, C width, H heads, D head width, V vocabulary.
Source: Radford et al. 2019; the loss without its logits in memory: Wijmans et al. 2024 ("Cut
Your Losses"), Hsu et al. 2024 (Liger kernels).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from codeling.model.attention import causal_attention, split_heads
from codeling.model.cache import KeyValueCache
from codeling.model.config import GPT2Config

LOSS_CHUNK_ROWS = 1024
"""Positions whose logits exist at one time during training."""


class Conv1D(nn.Module):
    """GPT-2's linear layer: ``x @ weight + bias`` with ``weight`` of shape (in, out)."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_in, num_out))
        self.bias = nn.Parameter(torch.zeros(num_out))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) → (..., out), in the type of ``x``."""
        flat = torch.addmm(
            self.bias.to(x.dtype), x.reshape(-1, x.size(-1)), self.weight.to(x.dtype)
        )
        return flat.view(*x.shape[:-1], -1)


class LayerNorm(nn.Module):
    """Normalisation over C with gain and bias, statistics in fp32."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., C), in the type of ``x``."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return functional.layer_norm(x, weight.shape, weight, bias, self.epsilon)


class Attention(nn.Module):
    """Causal multi-head self-attention with one fused projection for query, key and value."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, cache: KeyValueCache | None) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        fused = self.c_attn(x)
        if cache is None:
            return self.c_proj(causal_attention(fused, self.n_head))  # type: ignore[no-any-return]
        rows, length, width = x.shape
        query, key, value = split_heads(fused, self.n_head)
        key, value = cache.update(self.layer, key, value)
        y = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=cache.attention_mask(length)
        )
        return self.c_proj(y.transpose(1, 2).reshape(rows, length, width))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two layers, four times as wide between them, with GPT-2's tanh GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: attention and MLP, each normalised before and added after."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = Attention(config, layer)
        self.ln_2 = LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = MLP(config.n_embd)

    def forward(self, x: Tensor, cache: KeyValueCache | None) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        x = x + self.attn(self.ln_1(x), cache)
        return x + self.mlp(self.ln_2(x))  # type: ignore[no-any-return]


class GPT2(nn.Module):
    """The network. :meth:`forward` gives logits, :meth:`loss` trains it."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.context_length, config.n_embd)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = LayerNorm(config.n_embd, config.layer_norm_epsilon)

    def initialize(self, seed: int) -> None:
        """Draw fresh weights: normal with deviation 0.02, GPT-2's; the layers that write into
        the residual stream start at zero, so that a block starts as the identity.
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
        cache: KeyValueCache | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Ids (B, T) → last hidden states (B, T, C), normalised, in :attr:`compute_dtype`.

        ``positions`` (T,) or (B, T) default to 0 … T-1, or to what follows in ``cache``.
        """
        if positions is None:
            positions = (
                torch.arange(input_ids.size(1), device=input_ids.device)
                if cache is None
                else cache.positions(input_ids.size(1))
            )
        x = (self.wte(input_ids) + self.wpe(positions)).to(self.compute_dtype)
        for block in self.h:
            x = block(x, cache)
        if cache is not None:
            cache.advance(input_ids.size(1))
        return self.ln_f(x)  # type: ignore[no-any-return]

    def forward(
        self,
        input_ids: Tensor,
        cache: KeyValueCache | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Ids (B, T) → logits (B, T, V)."""
        x = self.hidden(input_ids, cache, positions)
        return functional.linear(x, self.wte.weight.to(x.dtype))

    def loss(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Mean cross entropy in nats per token of ``target_ids`` (B, T), an fp32 scalar."""
        x = self.hidden(input_ids)
        nats = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, x.size(-1)),
            self.wte.weight,
            target_ids.reshape(-1),
            torch.is_grad_enabled(),
        )
        return nats / target_ids.numel()  # type: ignore[no-any-return]

    @torch.no_grad()
    def token_nats(self, input_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Cross entropy of each token of ``target_ids`` (B, T) in nats, fp32 (B, T)."""
        x = self.hidden(input_ids)
        x, head = x.reshape(-1, x.size(-1)), self.wte.weight.to(x.dtype)
        targets = target_ids.reshape(-1, 1)
        chunks = [
            torch.log_softmax(rows @ head.T, dim=-1, dtype=torch.float32).gather(1, target)
            for rows, target in zip(
                torch.split(x, LOSS_CHUNK_ROWS), torch.split(targets, LOSS_CHUNK_ROWS), strict=True
            )
        ]
        return -torch.cat(chunks).view_as(target_ids)


class _LinearCrossEntropy(torch.autograd.Function):
    """Head and cross entropy in one, :data:`LOSS_CHUNK_ROWS` positions at a time.

    The gradient is taken while the logits of a chunk are at hand, so that no (B·T, V) matrix
    is ever kept. Returns the sum of nats; ``hidden`` (N, C), ``weight`` (V, C), ``targets`` (N,).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, with_gradient: bool
    ) -> Tensor:
        head = weight.to(hidden.dtype)
        nats = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if with_gradient else None
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if with_gradient else None
        for start in range(0, len(hidden), LOSS_CHUNK_ROWS):
            rows = slice(start, start + LOSS_CHUNK_ROWS)
            x, target = hidden[rows], targets[rows].unsqueeze(1)
            logits = x @ head.T
            log_probabilities = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
            nats -= log_probabilities.gather(1, target).sum()
            if hidden_gradient is not None and weight_gradient is not None:
                gradient = log_probabilities.exp_()
                gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
                narrow = gradient.to(x.dtype)
                hidden_gradient[rows] = narrow @ head
                weight_gradient += narrow.T @ x
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return nats

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        (scale,) = outputs
        return hidden_gradient * scale, weight_gradient * scale, None, None
