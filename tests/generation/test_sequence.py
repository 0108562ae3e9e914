"""The window of a sequence that is longer than the context."""

from codeling.generation.sequence import window_start


def test_the_window_keeps_between_three_quarters_and_all_of_the_context() -> None:
    for context in (1, 2, 3, 16, 33):
        before = 0
        for num_tokens in range(1, 5 * context):
            start = window_start(num_tokens, context)
            seen = num_tokens - start
            assert seen == num_tokens or context - max(1, context // 4) < seen <= context
            assert start >= before
            before = start
