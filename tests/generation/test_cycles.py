from hypothesis import given
from hypothesis import strategies as st

from codeling.generation.cycles import LONGEST, SHORT, Cycles


def brute_force(prompt: list[int], written: list[int], max_repeats: int) -> set[int]:
    """Ids that would continue a cycle, by definition."""
    ids, found = prompt + written, set()
    for period in range(1, min(LONGEST, len(ids)) + 1):
        repeated = 0
        while repeated < min(len(written), len(ids) - period) and (
            ids[-1 - repeated] == ids[-1 - repeated - period]
        ):
            repeated += 1
        if repeated >= max(period * (max_repeats - 1), SHORT):
            found.add(ids[-period])
    return found


def after(prompt: list[int], written: list[int], max_repeats: int = 3) -> set[int]:
    cycles = Cycles(prompt, max_repeats)
    for each in written:
        cycles.add(each)
    return set(cycles.banned())


@given(
    st.lists(st.integers(0, 2), max_size=30),
    st.lists(st.integers(0, 2), max_size=60),
    st.integers(1, 20),
    st.integers(1, 4),
)
def test_forbidden_ids_equal_the_definition(
    prompt: list[int], unit: list[int], times: int, max_repeats: int
) -> None:
    written = unit * times
    assert after(prompt, written, max_repeats) == brute_force(prompt, written, max_repeats)


def test_a_line_may_repeat_three_times_and_short_runs_more_often() -> None:
    line = list(range(12))
    assert after([], 3 * line) == {0}
    assert after([], 3 * line + [99]) == set()
    assert after([], 2 * line) == set()
    assert after([], [1, 2] * 4) == set()
    assert after([], [1, 2] * 5) == {1}
    assert after([], [7] * 8) == set()
    assert after([], [7] * 9) == {7}


def test_repeats_in_the_prompt_do_not_count_but_may_be_continued() -> None:
    line = list(range(12))
    assert after(9 * line, []) == set()
    assert after(9 * line, line) == set()
    assert after(line, 2 * line) == {0}


def test_long_periods_are_found_in_long_texts() -> None:
    unit = list(range(LONGEST))
    assert after([], 3 * unit) == {0}
    assert after([], 2 * unit) == set()
    longer = list(range(LONGEST + 1))
    assert after([], 5 * longer) == set()
    assert after(list(range(5000)), [*range(3000), *([4] * 9)]) == {4}


def test_any_number_of_repeats_may_be_allowed() -> None:
    cycles = Cycles([], max_repeats=10**30)
    for _ in range(300):
        cycles.add(1)
    assert cycles.banned() == []
