"""Ghost text: from the text around a cursor to a request to the engine.

Every dialect with a text behind the cursor, and the language server, come through :func:`suggest`.
The rule is one that a person can predict: the rest of the line in the middle of one, the rest of
the block after a line that ends in ``:`` and on a blank line.
"""

from dataclasses import replace

from codeling.generation.request import Request, SamplingParams

_CHARACTERS_PER_TOKEN = 16
"""Text read per position of the context. A token is shorter on average, so none is missed."""


def suggest(
    prefix: str,
    suffix: str,
    params: SamplingParams,
    *,
    context_length: int,
    can_infill: bool,
    sample: int = 0,
) -> Request:
    """The request for what may be shown between ``prefix`` and ``suffix``.

    The suffix is not used if it is blank, or if the model was not trained for infilling.
    """
    line = prefix.rpartition("\n")[2]
    rest = suffix.partition("\n")[0]
    is_block = not rest.strip() and (not line.strip() or line.rstrip().endswith(":"))
    if is_block:
        params = replace(params, stop_at_block_end=True)
    else:
        params = replace(params, stop=(*params.stops, "\n"))
    size = _CHARACTERS_PER_TOKEN * context_length
    return Request(
        _end_of(prefix, size),
        suffix[:size] if can_infill and suffix.strip() else None,
        params,
        sample,
    )


def _end_of(text: str, size: int) -> str:
    """The end of ``text`` that a model can see, from the beginning of a line if there is one.

    The beginning moves in steps of ``size``, so that the tokens of a file that is being written
    stay the same and need not be read again.
    """
    excess = len(text) - 2 * size
    if excess <= 0:
        return text
    begin = (excess + size - 1) // size * size
    line = text.find("\n", begin, begin + size // 2)
    return text[begin if line < 0 else line + 1 :]
