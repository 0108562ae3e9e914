"""The vocabulary size for ``vocab_size = "auto"``.

A larger vocabulary makes texts shorter, but each entry needs enough training data for its row of
the embedding, and every step computes logits for all entries. A larger model or a much longer
training therefore justifies more entries. :func:`vocab_size` is a fit with three constants, each
with its source. The same recipe gives the same size on every machine.
"""

import math

EXPONENT = 0.83
"""The parameters of the embedding grow with this power of the parameters of the blocks (Tao et al.
2024, "Scaling Laws with Vocabulary", the fit at equal FLOPs)."""

FACTOR = 5.10
"""Gives the preset ``nano`` (4 × 192, six minutes) 4,096 entries. These reached 1.457 bits per byte
on 17 equally weighted packages; 2,048 entries reached 1.486 in the same time
(``docs/tokenizer.md``)."""

TIME_EXPONENT = 0.25
"""Growth of the best size with the tokens per parameter beyond the usual number. This is an
estimate, not a measurement: 0 would mean that only the model's size counts, and 0.5 follows from
equal shares of a compute budget. A shorter run gets no smaller vocabulary: in a quarter of the time
4,096 entries were best and 1,024 lost 9 % (``docs/tokenizer.md``)."""

USUAL_TOKENS_PER_PARAMETER = 2.3
"""``nano`` in six minutes on two cores: 4.1 M tokens for 1.78 M parameters of its blocks
(``docs/log.md``). :data:`FACTOR` was fitted there."""

REFERENCE_RATE = 9.5e10
"""Training FLOP/s of that run: six times the parameters of its blocks times the tokens per second
(4.1 M tokens in 462 seconds). ``minutes`` are minutes on that machine, so that the size does not
depend on the machine at hand. On a faster machine, set ``tokens``."""

SMALLEST, LARGEST = 1024, 65536
"""Smaller vocabularies split most words; the ids of larger ones do not fit into two bytes."""


def vocab_size(num_block_parameters: int, width: int, num_tokens: float) -> int:
    """Vocabulary size for a model with ``num_block_parameters`` and embeddings of ``width``,
    trained on ``num_tokens``: the nearest power of two.
    """
    excess = max(1.0, num_tokens / num_block_parameters / USUAL_TOKENS_PER_PARAMETER)
    parameters = FACTOR * num_block_parameters**EXPONENT * excess**TIME_EXPONENT
    entries = min(max(parameters / width, SMALLEST), LARGEST)
    return int(2 ** round(math.log2(entries)))


def block_parameters(n_layer: int, n_embd: int) -> int:
    """Parameters of a GPT-2's blocks, without biases and norms."""
    return 12 * n_layer * n_embd**2


def tokens_in(minutes: float, num_block_parameters: int) -> float:
    """Tokens that a model of this size sees in ``minutes`` on the reference machine."""
    return minutes * 60 * REFERENCE_RATE / (6 * num_block_parameters)
