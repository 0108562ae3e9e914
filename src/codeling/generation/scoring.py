"""Log-probabilities of given ids, such as a text that the model did not write.

Ids that exceed the context are read in windows that advance by half a context. Every id is scored
exactly once, and after the first window with at least half a context before it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from codeling.generation.logprobs import TokenLogprobs, most_likely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codeling.model.gpt2 import GPT2


def windows(num_tokens: int, context_length: int) -> Iterator[tuple[int, int, int]]:
    """The windows over a document of ``num_tokens``, as ``(begin, end, first)``.

    With one more token before the document, a window reads positions ``begin`` to ``end`` - 1
    and predicts the tokens with the same numbers; it scores those from ``first`` on.
    """
    begin, end = 0, min(num_tokens, context_length)
    first = 0
    while first < num_tokens:
        yield begin, end, first
        begin, first = begin + max(1, context_length // 2), end
        end = min(num_tokens, begin + context_length)


def score(model: "GPT2", ids: "Sequence[int]", num_top: int) -> Iterator[TokenLogprobs]:
    """Score each of ``ids`` but the first, with the ``num_top`` most likely ids in its place."""
    import torch

    device = model.wte.weight.device
    for begin, end, first in windows(len(ids) - 1, model.config.context_length):
        with torch.inference_mode():
            hidden = model.hidden(torch.tensor([ids[begin:end]], device=device))
            logits = model.head(hidden[0, first - begin :]).float().cpu().numpy()
        for row, target in zip(logits, ids[first + 1 : end + 1], strict=True):
            yield most_likely(row, target, num_top)
