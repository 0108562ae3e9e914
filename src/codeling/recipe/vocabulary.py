"""How many entries a tokenizer gets where the recipe says ``vocab_size = "auto"``.

Every entry costs a row of the embedding, which has to be seen often enough to be learned, and
every step pays for all of them in the head; a larger vocabulary makes texts shorter. So a larger
model, and one that is trained for much longer, is worth more entries. :func:`vocab_size` is a fit
of that with three constants, each of which says where it is from. Pure arithmetic: the same recipe
gives the same size on every machine.
"""

import math

EXPONENT = 0.83
"""Parameters of the embedding grow with those of the blocks to this power (Tao et al. 2024,
"Scaling Laws with Vocabulary", the fit over equal operations)."""

FACTOR = 5.10
"""Puts the preset ``nano`` (4 × 192, six minutes) on 4,096: on 17 packages, each counting alike, it
stood at 1.457 bits per byte and 2,048 at 1.486 in the same time (``docs/tokenizer.md``)."""

TIME_EXPONENT = 0.25
"""How the best size grows with the tokens a parameter sees beyond the usual. An estimate, not
measured by us: between nothing, which says that only size counts, and the half that equal shares
of a budget would give. A run that is shorter than usual gets no less: in a quarter of the time
4,096 were best and 1,024 lost 9 % (``docs/tokenizer.md``)."""

USUAL_TOKENS_PER_PARAMETER = 2.3
"""Of ``nano``'s blocks in six minutes on two cores: 4.1 M tokens and 1.78 M parameters
(``docs/results.md``, "The demo"). The factor above holds there."""

REFERENCE_RATE = 9.5e10
"""Six times the blocks' parameters times the tokens a second of that run: 4.1 M tokens in 462
seconds. ``minutes`` are minutes of that machine, so that the answer does not depend on the one
at hand; who has a faster one gives ``tokens``."""

SMALLEST, LARGEST = 1024, 65536
"""Below, words fall apart; above, ids no longer fit into two bytes."""


def vocab_size(num_block_parameters: int, width: int, num_tokens: float) -> int:
    """Entries for blocks of ``num_block_parameters`` and an embedding of ``width``, trained on
    ``num_tokens``: the nearest power of two.
    """
    given = max(1.0, num_tokens / num_block_parameters / USUAL_TOKENS_PER_PARAMETER)
    parameters = FACTOR * num_block_parameters**EXPONENT * given**TIME_EXPONENT
    entries = min(max(parameters / width, SMALLEST), LARGEST)
    return int(2 ** round(math.log2(entries)))


def block_parameters(n_layer: int, n_embd: int) -> int:
    """Parameters of a GPT-2's blocks, biases and norms left out."""
    return 12 * n_layer * n_embd**2


def tokens_in(minutes: float, num_block_parameters: int) -> float:
    """Tokens that blocks of that size see in ``minutes`` on the machine of the demo's figures."""
    return minutes * 60 * REFERENCE_RATE / (6 * num_block_parameters)
