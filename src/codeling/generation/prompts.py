"""From the text around a cursor to the ids that the model reads.

A prompt starts with ``<|endoftext|>``, as documents do in training. An infilling is written suffix
first (SPM): ``<fim_prefix> <fim_suffix>`` suffix ``<fim_middle>`` prefix. While a user types, the
prefix grows and the suffix stays, so the ids of a request begin with those of the one before, and
the cache holds them. Prefix first (PSM), the suffix is read again at every keystroke. Bavarian et
al. 2022 train on both orders and find SPM slightly better; for a model that was trained on PSM
alone there is ``suffix_first=False``.

Prefix and middle are one text in SPM, so the prefix is healed like a prompt without suffix
(:mod:`codeling.tokenizer.healing`). In PSM it ends anywhere, as in training.

This module must not know models or the cache.
"""

import re

from codeling.errors import UsageError
from codeling.tokenizer.healing import Healed, Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer

MAX_CHARACTERS = 400_000
"""Characters of a prompt nearest to the cursor, and of a suffix, that are read; more if the context
may hold more. The others are not tokenized, and do not count for where a block ends."""
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_NUM_SPECIAL = 4
"""``<|endoftext|>`` and the three markers."""
_STEPS = 8
"""The edges of a prefix and a suffix that do not fit move in steps of this part of the context. A
step is about a hundred typed characters for a context of 256 tokens."""


def encode_prompt(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    prompt: str,
    suffix: str | None,
    *,
    context_length: int,
    max_new_tokens: int,
    suffix_first: bool = True,
) -> Healed:
    """Ids of a prompt, or of an infilling cut to fit the context, healed.

    An infilling leaves space for ``max_new_tokens``, at most half the context. If prefix and suffix
    do not fit, the suffix gets a quarter of the space, or what the prefix leaves, and the text
    nearest to the cursor is kept.

    :raises UsageError: a text is not a string or cannot be encoded as UTF-8.
    :raises TokenizerError: there is a suffix, and the tokenizer has no infilling tokens.
    """
    before, after = encode_texts(tokenizer, prompt, suffix, context_length)
    return arrange(
        tokenizer,
        vocabulary,
        before,
        after,
        context_length=context_length,
        max_new_tokens=max_new_tokens,
        suffix_first=suffix_first,
    )


def encode_texts(
    tokenizer: Tokenizer, prompt: str, suffix: str | None, context_length: int
) -> tuple[list[int], list[int] | None]:
    """Ids of the end of a prompt and of the beginning of a suffix, not cut to the context.

    Raises like :func:`encode_prompt`.
    """
    for name, text in (("prompt", prompt), ("suffix", "" if suffix is None else suffix)):
        if not isinstance(text, str):
            raise UsageError(f"the {name} must be a string, not {type(text).__name__}")
        if not text.isascii() and _LONE_SURROGATE.search(text):
            raise UsageError("the prompt or suffix contains a lone surrogate, which is not text")
    before = tokenizer.encode_typed(last_part(prompt, tokenizer, context_length))
    if suffix is None:
        return before, None
    return before, tokenizer.encode_typed(suffix[: _max_characters(tokenizer, context_length)])


def arrange(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    before: list[int],
    after: list[int] | None,
    *,
    context_length: int,
    max_new_tokens: int,
    suffix_first: bool,
) -> Healed:
    """The model's input for the texts of :func:`encode_texts`; see :func:`encode_prompt`."""
    if after is None:
        return vocabulary.heal([tokenizer.end_of_text, *before])
    available = context_length - min(max_new_tokens, context_length // 2) - _NUM_SPECIAL
    first, num_after = _edges(len(before), len(after), max(0, available), context_length // _STEPS)
    before, after = before[first:], after[:num_after]
    start = [tokenizer.end_of_text, tokenizer.fim_prefix]
    if suffix_first:
        head = [*start, tokenizer.fim_suffix, *after, tokenizer.fim_middle]
        return vocabulary.heal([*head, *before])
    return Healed([*start, *before, tokenizer.fim_suffix, *after, tokenizer.fim_middle], b"")


def last_part(prompt: str, tokenizer: Tokenizer, context_length: int) -> str:
    """The end of a very long prompt; from the start of a line if there is one in its first half.

    It has more tokens than the context.
    """
    start = len(prompt) - _max_characters(tokenizer, context_length)
    if start <= 0:
        return prompt
    return prompt[prompt.find("\n", start, (start + len(prompt)) // 2) + 1 or start :]


def _max_characters(tokenizer: Tokenizer, context_length: int) -> int:
    return max(MAX_CHARACTERS, 2 * context_length * tokenizer.longest_token)


def _edges(num_before: int, num_after: int, available: int, step: int) -> tuple[int, int]:
    """Index of the first token kept of a prefix, and the number of tokens kept of a suffix.

    Both change only in steps while the prefix grows.
    """
    step = max(1, step)
    wanted = min(_round_up(num_before, step), available - available // 4)
    num_after = min(num_after, available - wanted)
    return _round_up(max(0, num_before - (available - num_after)), step), num_after


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
