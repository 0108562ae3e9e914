"""What a run will take, before it is started: parameters, memory, tokens, operations, time.

Memory is counted from what this network keeps, not measured. Time takes the rate of a matrix
product measured on this machine and :data:`EXPECTED_UTILISATION` of it.
"""

from dataclasses import dataclass

import torch

from codeling.model.config import GPT2Config
from codeling.model.gpt2 import loss_chunk_positions
from codeling.recipe import Recipe
from codeling.training.machine import Machine, matrix_rate, sequences_per_pass, set_up
from codeling.training.planning.forecast import forecast
from codeling.training.schedule import requested_steps

EXPECTED_UTILISATION = 0.5
"""Of the matrix rate, by the whole training step; ``docs/results.md`` lists what was measured."""


@dataclass(frozen=True)
class Estimate:
    """What ``codeling run --dry-run`` prints."""

    num_parameters: int
    num_block_parameters: int
    memory_bytes: int
    """Weights, gradients, optimizer state and activations of one micro-batch."""
    num_tokens: int
    tokens_per_step: int
    num_steps: int
    flops: int
    """Floating-point operations of the whole training."""
    matrix_flops_per_second: float
    """Measured now."""
    seconds: float
    device: str
    precision: str
    bits_per_byte: float
    """On held-out text, by :mod:`codeling.training.planning.forecast`."""
    bits_per_byte_error: float
    bits_per_byte_within: bool
    """Whether the runs that the fit was made from were of this kind of size."""


def estimate(recipe: Recipe) -> Estimate:
    """Of a resolved recipe, for this machine.

    :raises UsageError: the device that it asks for is not there.
    """
    training, shape = recipe.training, recipe.model.model_dump(exclude={"size"})
    assert isinstance(recipe.tokenizer.vocab_size, int)
    assert training.tokens_per_step is not None
    config = GPT2Config(vocab_size=recipe.tokenizer.vocab_size, **shape)
    machine = set_up(training.device, training.precision, training.threads)
    rate = matrix_rate(machine)
    rows = training.tokens_per_step // config.context_length
    context = config.context_length
    at_once = sequences_per_pass(training.micro_batch_size, rows, context)
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
        memory_bytes=_memory(config, at_once, machine),
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
    )


def _memory(config: GPT2Config, rows: int, machine: Machine) -> int:
    """Bytes at the height of a step.

    fp32 weights and gradients; two buffers a parameter for AdamW, one for Muon (the blocks'
    matrices). A block keeps 20 numbers a token and channel (two norms, the fused projection and
    its copies by head, attention's result, two residuals, the MLP's inner layer before and
    after GELU) and half of the attention probabilities. On an accelerator, compiled, 16 are kept
    (one H200, 124 M parameters: 13.5 GiB, of which this finds 13.0), and no probabilities.
    """
    size, on_processor = machine.dtype.itemsize, machine.device.type == "cpu"
    matrices = 12 * config.n_layer * config.n_embd**2
    others = config.num_parameters - matrices
    fixed = 4 * (2 * config.num_parameters + matrices + 2 * others)
    tokens = rows * config.context_length
    kept = 16 * config.n_embd
    if on_processor:
        kept = 20 * config.n_embd + config.n_head * config.context_length // 2
    block = tokens * kept * size
    head = min(tokens, loss_chunk_positions(machine.device)) * config.vocab_size * (4 + size)
    return fixed + config.n_layer * block + head + 4 * config.vocab_size * config.n_embd
