"""Estimate a run before it starts: parameters, memory, tokens, operations, time.

Memory is calculated from the tensors that a step keeps. Time is calculated from the rate of matrix
products on this machine, which is measured, and :data:`EXPECTED_UTILISATION`.
"""

from dataclasses import dataclass

import torch

from codeling.model.config import GPT2Config
from codeling.model.gpt2 import loss_chunk_positions
from codeling.provenance.index import IndexSize, expected_size
from codeling.recipe import Recipe
from codeling.training.machine import Machine, matrix_rate, sequences_per_pass, set_up
from codeling.training.planning.forecast import forecast
from codeling.training.planning.plan import few_steps_warning
from codeling.training.schedule import requested_steps

EXPECTED_UTILISATION = 0.5
"""Share of the matrix rate that a training step reaches; ``docs/results.md``, "Training speed"."""


@dataclass(frozen=True)
class Estimate:
    """The figures that ``codeling run --dry-run`` prints."""

    num_parameters: int
    num_block_parameters: int
    memory_bytes: int
    """Weights, gradients, optimizer state and activations of one micro-batch."""
    num_tokens: int
    tokens_per_step: int
    num_steps: int
    flops: int
    """Floating-point operations of the whole run."""
    matrix_flops_per_second: float
    """Measured on this machine by :func:`estimate`."""
    seconds: float
    device: str
    precision: str
    bits_per_byte: float
    """Forecast for held-out text, by :mod:`codeling.training.planning.forecast`."""
    bits_per_byte_error: float
    bits_per_byte_within: bool
    """Whether the forecast stays near the sizes of the measured runs."""
    provenance_index: IndexSize
    warning: str | None
    """The warning that the run would print."""


def estimate(recipe: Recipe, corpus_bytes: int) -> Estimate:
    """Estimate the run of ``recipe``, which is resolved, on this machine.

    ``corpus_bytes`` is the most Python that its input can hold.

    :raises UsageError: the requested device does not exist.
    """
    training, shape = recipe.training, recipe.model.model_dump(exclude={"size"})
    assert isinstance(recipe.tokenizer.vocab_size, int)
    assert training.tokens_per_step is not None
    config = GPT2Config(vocab_size=recipe.tokenizer.vocab_size, **shape)
    machine = set_up(training.device, training.precision, training.threads)
    rate = matrix_rate(machine)
    context = config.context_length
    num_sequences = training.tokens_per_step // context
    micro_batch_size = sequences_per_pass(training.micro_batch_size, num_sequences, context)
    tokens_per_second = rate * EXPECTED_UTILISATION / config.train_flops_per_token
    num_steps = requested_steps(training, training.tokens_per_step)
    if num_steps is None:
        assert training.minutes is not None
        seconds = training.minutes * 60
        num_steps = max(1, int(seconds * tokens_per_second / training.tokens_per_step))
    num_tokens = num_steps * training.tokens_per_step
    expected = forecast(config.num_block_parameters, num_tokens)
    return Estimate(
        num_parameters=config.num_parameters,
        num_block_parameters=config.num_block_parameters,
        memory_bytes=_memory(config, micro_batch_size, machine),
        num_tokens=num_tokens,
        tokens_per_step=training.tokens_per_step,
        num_steps=num_steps,
        flops=num_tokens * config.train_flops_per_token,
        matrix_flops_per_second=rate,
        seconds=num_tokens / tokens_per_second,
        device=str(machine.device),
        precision="bf16" if machine.dtype == torch.bfloat16 else "fp32",
        bits_per_byte=expected.bits_per_byte,
        bits_per_byte_error=expected.error,
        bits_per_byte_within=expected.is_within,
        provenance_index=expected_size(corpus_bytes),
        warning=few_steps_warning(training, num_steps),
    )


def _memory(config: GPT2Config, micro_batch_size: int, machine: Machine) -> int:
    """Peak bytes of a step.

    Weights and gradients are fp32. AdamW has two buffers per parameter, Muon (the blocks' matrices)
    one. A block keeps 20 numbers per token and channel (two norms, the fused projection and its
    copies by head, the output of attention, two residuals, the MLP's inner layer before and after
    GELU) and half of the attention probabilities. On an accelerator, compiled, it keeps 16 numbers
    and no probabilities (one H200, 124 M parameters: 13.5 GiB measured, 13.0 GiB by this formula).
    """
    itemsize, on_processor = machine.dtype.itemsize, machine.device.type == "cpu"
    matrices = 12 * config.n_layer * config.n_embd**2
    others = config.num_parameters - matrices
    fixed = 4 * (2 * config.num_parameters + matrices + 2 * others)
    tokens = micro_batch_size * config.context_length
    kept = 16 * config.n_embd
    if on_processor:
        kept = 20 * config.n_embd + config.n_head * config.context_length // 2
    block = tokens * kept * itemsize
    head = min(tokens, loss_chunk_positions(machine.device)) * config.vocab_size * (4 + itemsize)
    return fixed + config.n_layer * block + head + 4 * config.vocab_size * config.n_embd
