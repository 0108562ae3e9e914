"""Laws of the scheduler. The runner keeps ids in its slots, so every comparison is exact."""

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeling.generation.request import Request, SamplingParams
from codeling.generation.scheduler import Batch, Scheduler, common_length
from codeling.generation.sequence import Sequence, window_start
from codeling.tokenizer.healing import Healed, Vocabulary

from .reference_runner import ReferenceRunner, logits_after

CONTEXT, VOCAB = 16, 40
VOCABULARY = Vocabulary([bytes([97 + i % 26]) * (1 + i // 26) for i in range(VOCAB)])
END = 0


def sequence(prompt: list[int], max_new_tokens: int = 8) -> Sequence:
    params = SamplingParams(max_new_tokens=max_new_tokens, max_repeats=0)
    return Sequence(Request("", params=params), Healed([END, *prompt], b""), CONTEXT)


def alone(prompt: list[int], max_new_tokens: int) -> list[int]:
    """Greedy ids from the window of each step, without scheduler or cache."""
    ids = [END, *prompt]
    for _ in range(max_new_tokens):
        window = ids[window_start(len(ids), CONTEXT) :]
        picked = int(logits_after(window, VOCAB).argmax())
        if picked == END:
            break
        ids.append(picked)
    return ids[1 + len(prompt) :]


class Guesses:
    """A memory that drafts what will be picked, with mistakes."""

    def __init__(self, prompt: list[int], max_new_tokens: int) -> None:
        self.right = alone(prompt, max_new_tokens)
        self.num_observed = 0
        self.num_guessed = 0

    def observe(self, token: int) -> None:
        assert token == self.right[self.num_observed]
        self.num_observed += 1

    def draft(self, most: int) -> list[int]:
        guess = self.right[self.num_observed : self.num_observed + most]
        self.num_guessed += 1
        if guess and self.num_guessed % 3 == 0:
            place = self.num_guessed % len(guess)
            guess[place] = 1 + guess[place] % 3
        return guess


@dataclass
class Machine:
    """A scheduler and a runner, stepped manually."""

    num_slots: int = 4
    max_batch_tokens: int = 64
    max_drafts: int = 0
    runner: ReferenceRunner = field(default_factory=lambda: ReferenceRunner(CONTEXT, VOCAB))

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.num_slots, self.max_batch_tokens, self.max_drafts)
        self.runner.reserve(self.num_slots)

    def step(self) -> Batch:
        batch = self.scheduler.schedule()
        logits = iter(self.runner.run(batch))
        for row, each in zip(batch.rows, batch.sequences, strict=True):
            draft = row.ids[len(row.ids) - row.num_logits + 1 :]
            is_right = True
            for depth in range(row.num_logits):
                picked = int(np.argmax(next(logits)))
                if is_right and each.finish_reason is None:
                    each.append(picked, VOCABULARY, END)
                    is_right = draft[depth : depth + 1] == [picked]
        self.scheduler.postprocess(batch)
        return batch

    def finish(self) -> None:
        for _ in range(10_000):
            if not self.step().rows:
                return
        raise AssertionError("the schedule does not end")

    def check_slots(self) -> None:
        """No slot is leaked or shared, and each holds what the scheduler expects."""
        owners = [slot.owner for slot in self.scheduler._slots]
        owned = [owner for owner in owners if owner is not None]
        assert sorted(map(id, owned)) == sorted(map(id, self.scheduler.running))
        for each, number in self.scheduler.running.items():
            assert owners[number] is each
        for believed, held in zip(self.scheduler._slots, self.runner.slots, strict=True):
            assert held[: len(believed.ids)] == believed.ids


IDS = st.integers(1, 3)
"""Few distinct ids, so that prompts share prefixes."""

PROMPTS = st.lists(IDS, max_size=24)

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PROMPTS, st.integers(1, 12)),
        st.tuples(st.just("abort"), st.integers(0, 30), st.none()),
        st.tuples(st.just("step"), st.integers(1, 6), st.none()),
        st.tuples(st.just("grow"), st.integers(1, 6), st.none()),
    ),
    max_size=40,
)


def play(
    actions: list[tuple[str, object, object]],
    num_slots: int,
    max_batch_tokens: int,
    max_drafts: int = 0,
) -> None:
    machine = Machine(num_slots, max_batch_tokens, max_drafts)
    asked: list[tuple[Sequence, list[int], int]] = []
    aborted: set[Sequence] = set()
    for kind, first, second in actions:
        if kind == "add":
            assert isinstance(first, list)
            assert isinstance(second, int)
            asked.append((sequence(first, second), first, second))
            asked[-1][0].memory = cast("Any", Guesses(first, second))
            machine.scheduler.add(asked[-1][0])
        elif kind == "abort" and asked:
            assert isinstance(first, int)
            victim = asked[first % len(asked)][0]
            machine.scheduler.abort(victim)
            aborted.add(victim)
        elif kind == "grow":
            assert isinstance(first, int)
            machine.runner.reserve(first)
            machine.scheduler.grow(first)
        elif kind == "step":
            assert isinstance(first, int)
            for _ in range(first):
                machine.step()
        machine.check_slots()
    machine.finish()
    machine.check_slots()
    assert not machine.scheduler.running
    assert not machine.scheduler.waiting
    for each, prompt, max_new_tokens in asked:
        if each not in aborted or each.finish_reason is not None:
            assert each.ids[each.num_prompt :] == alone(prompt, max_new_tokens)


@settings(max_examples=150)
@given(ACTIONS, st.integers(1, 5), st.sampled_from([1, 3, 64]), st.sampled_from([0, 3, 7]))
def test_sequences_equal_those_alone_in_any_schedule_and_no_slot_leaks(
    actions: list[tuple[str, object, object]],
    num_slots: int,
    max_batch_tokens: int,
    max_drafts: int,
) -> None:
    """Batched, admitted late, forked, beside aborted sequences, past the end of the context, with
    right and wrong drafts."""
    play(actions, num_slots, max_batch_tokens, max_drafts)


def test_right_drafts_take_fewer_steps() -> None:
    num_steps = []
    prompt = next([n] for n in range(1, VOCAB) if len(alone([n], 12)) == 12)
    for max_drafts in (0, 7):
        machine = Machine(max_drafts=max_drafts)
        each = sequence(prompt, 12)
        each.memory = cast("Any", Guesses(prompt, 12))
        machine.scheduler.add(each)
        num_steps.append(0)
        while machine.step().rows:
            num_steps[-1] += 1
    assert num_steps[1] <= num_steps[0] // 2


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.proof)])
def test_random_schedules_keep_the_laws(count: int) -> None:
    generator = np.random.default_rng(0)
    for _ in range(count):
        actions: list[tuple[str, object, object]] = []
        for _ in range(generator.integers(1, 25)):
            kind = ["add", "add", "abort", "step", "step", "grow"][generator.integers(6)]
            prompt = generator.integers(1, 3, generator.integers(0, 24)).tolist()
            number = int(generator.integers(1, 7))
            actions.append((kind, prompt if kind == "add" else number, number))
        limits = int(generator.choice([1, 5, 64])), int(generator.choice([0, 2, 7]))
        play(actions, int(generator.integers(1, 5)), *limits)


def test_only_new_ids_are_read_when_a_prompt_grows() -> None:
    machine = Machine()
    prompt = [1, 2, 3, 1, 2]
    for length in range(1, 6):
        before = machine.runner.num_read
        machine.scheduler.add(sequence(prompt[:length], 1))
        machine.finish()
        assert machine.runner.num_read - before == (2 if length == 1 else 1)
    assert machine.scheduler.num_prompt_tokens == 2 + 3 + 4 + 5 + 6
    assert machine.scheduler.num_reused_tokens == 0 + 2 + 3 + 4 + 5


def test_a_window_that_moved_keeps_what_the_next_request_reuses() -> None:
    """While a person types, completions reach beyond the context again and again."""
    machine = Machine()
    text = [5 + i % 7 for i in range(CONTEXT - 4)]
    num_read = []
    for extra in range(3):
        before = machine.runner.num_read
        machine.scheduler.add(sequence([*text, 5, 5, 5][: len(text) + extra], 8))
        machine.finish()
        num_read.append(machine.runner.num_read - before)
    assert sum(num_read[1:]) <= 2 * CONTEXT


def test_a_shared_prompt_is_read_once() -> None:
    machine = Machine(num_slots=4)
    for _ in range(4):
        machine.scheduler.add(sequence([1, 2, 3, 1, 2], 1))
    assert [len(row.ids) for row in machine.step().rows] == [6]
    batch = machine.step()
    assert [len(row.ids) for row in batch.rows] == [1, 1, 1]
    assert len(batch.forks) == 2  # another sequence takes over the slot of the first


def test_the_least_recently_used_slot_is_reused() -> None:
    machine = Machine(num_slots=2)
    for prompt in ([1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 1, 1, 1], [3, 3, 3, 3]):
        machine.scheduler.add(sequence(prompt, 1))
        machine.finish()
    before = machine.runner.num_read
    machine.scheduler.add(sequence([1, 1, 1, 1, 1], 1))
    machine.finish()
    assert machine.runner.num_read - before == 1


def test_a_short_common_prefix_does_not_overwrite_a_long_slot() -> None:
    machine = Machine(num_slots=3)
    for prompt in ([1, 2, 3, 1, 2, 3, 1], [1, 3, 3]):
        machine.scheduler.add(sequence(prompt, 1))
        machine.finish()
    before = machine.runner.num_read
    machine.scheduler.add(sequence([1, 2, 3, 1, 2, 3, 1, 1], 1))
    machine.finish()
    assert machine.runner.num_read - before == 1


def test_decoding_continues_beside_a_long_prefill() -> None:
    machine = Machine(max_batch_tokens=4)
    short, long = sequence([1], 8), sequence([2, 3] * 6, 8)
    machine.scheduler.add(short)
    machine.step()
    machine.scheduler.add(long)
    lengths = [[len(row.ids) for row in machine.step().rows] for _ in range(4)]
    assert lengths == [[1, 4], [1, 4], [1, 4], [1, 1]]


def test_a_short_prompt_is_read_before_the_rest_of_a_long_one() -> None:
    machine = Machine(max_batch_tokens=4)
    long, short = sequence([2, 3] * 6, 8), sequence([1, 4], 8)
    for each in (long, short):
        machine.scheduler.add(each)
    first = machine.step()
    assert first.picking == [short]
    assert sorted(len(row.ids) for row in first.rows) == [1, 3]


def test_an_interrupted_step_leaves_no_trace() -> None:
    machine = Machine()
    machine.scheduler.add(sequence([1, 2, 3]))
    machine.scheduler.schedule()
    machine.scheduler.reset()
    machine.check_slots()
    assert not machine.scheduler.schedule().rows


@given(PROMPTS, PROMPTS)
def test_common_length_equals_a_loop(first: list[int], second: list[int]) -> None:
    expected = 0
    while expected < min(len(first), len(second)) and first[expected] == second[expected]:
        expected += 1
    assert common_length(first, second) == expected
