"""The ids of an infilling: cut to the context, and kept from keystroke to keystroke."""

import itertools

import pytest

from codeling.errors import UsageError
from codeling.generation.prompts import encode_prompt
from codeling.generation.scheduler import common_length
from codeling.tokenizer.healing import Healed, Vocabulary
from codeling.tokenizer.tokenizer import Tokenizer

CONTEXT, NEW = 64, 8
ROOM = CONTEXT - NEW - 4


@pytest.fixture(scope="module")
def vocabulary(small_tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(small_tokenizer.token_bytes)


def encode(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    prompt: str,
    suffix: str,
    *,
    max_new_tokens: int = NEW,
    suffix_first: bool = True,
) -> Healed:
    return encode_prompt(
        tokenizer,
        vocabulary,
        prompt,
        suffix,
        context_length=CONTEXT,
        max_new_tokens=max_new_tokens,
        suffix_first=suffix_first,
    )


def test_both_orders_are_those_of_training(
    small_tokenizer: Tokenizer, vocabulary: Vocabulary
) -> None:
    t = small_tokenizer
    before, after, start = t.encode("x = "), t.encode("\ny"), [t.end_of_text, t.fim_prefix]
    healed = encode(t, vocabulary, "x = ", "\ny")
    expected = [*start, t.fim_suffix, *after, t.fim_middle, *before]
    assert healed == vocabulary.heal(expected)
    healed = encode(t, vocabulary, "x = ", "\ny", suffix_first=False)
    assert healed == Healed([*start, *before, t.fim_suffix, *after, t.fim_middle], b"")


def test_a_typed_prefix_is_read_once(small_tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Beyond the context too: the edges move once in eight tokens."""
    t = small_tokenizer
    text = "".join(f"name_{n} = {n * n} + other\n" for n in range(12))
    typed = [text[:end] for end in range(1, len(text))]
    requests = [encode(t, vocabulary, prefix, "return x\n" * 30) for prefix in typed]
    pairs = itertools.pairwise(requests)
    num_new = [len(new.ids) - common_length(old.ids, new.ids) for old, new in pairs]
    num_tokens = len(t.encode(text))
    num_moves = sum(number > 8 for number in num_new)
    assert num_moves <= num_tokens // (CONTEXT // 8) + 1
    assert max(number for number in num_new if number <= 8) <= 4
    assert all(len(request.ids) <= CONTEXT - NEW for request in requests)


@pytest.mark.parametrize("suffix_first", [True, False])
@pytest.mark.parametrize("num_before", [0, 1, 5, 12, 39, 40, 41, 200])
@pytest.mark.parametrize("num_after", [0, 3, 12, 13, 14, 200])
def test_an_infilling_keeps_the_text_near_the_cursor(
    small_tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    num_before: int,
    num_after: int,
    suffix_first: bool,
) -> None:
    t = small_tokenizer
    prefix, suffix = "|" * num_before, "~" * num_after
    assert (len(t.encode(prefix)), len(t.encode(suffix))) == (num_before, num_after)
    healed = encode(t, vocabulary, prefix, suffix, suffix_first=suffix_first)
    num_kept_before = healed.ids.count(t.encode("|")[0]) + len(healed.pending)
    num_kept_after = healed.ids.count(t.encode("~")[0])
    assert num_kept_before + num_kept_after <= ROOM
    step = CONTEXT // 8
    if num_before + step <= ROOM - num_after:
        assert (num_kept_before, num_kept_after) == (num_before, num_after)
    assert num_kept_after >= min(num_after, ROOM // 4)
    assert num_kept_before > min(num_before, ROOM - ROOM // 4) - step
    if num_before >= ROOM and num_after >= ROOM:
        assert num_kept_after == ROOM // 4


@pytest.mark.parametrize("max_new_tokens", [1, 30, 32, 33, 10_000])
def test_half_the_context_is_left_at_most(
    small_tokenizer: Tokenizer, vocabulary: Vocabulary, max_new_tokens: int
) -> None:
    t = small_tokenizer
    healed = encode(t, vocabulary, "|" * 99, "~" * 99, max_new_tokens=max_new_tokens)
    left = CONTEXT - len(healed.ids)
    reserved = min(max_new_tokens, CONTEXT // 2)
    assert reserved <= left < reserved + CONTEXT // 8 + len(healed.pending)


def test_a_surrogate_is_no_text(small_tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    for prompt, suffix in (("\ud800", ""), ("", "\udfff")):
        with pytest.raises(UsageError, match="lone surrogate"):
            encode(small_tokenizer, vocabulary, prompt, suffix)
