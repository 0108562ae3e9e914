"""Parse rate: which functions are completed, what is cut, and what counts."""

from dataclasses import dataclass
from random import Random
from typing import Any, cast

import pytest

from codeling.evaluation.metrics.pass_at_k import wilson
from codeling.evaluation.parse_rate import (
    MAX_PROMPT_BYTES,
    BodySample,
    ParseRate,
    parse_rate,
)
from codeling.generation.engine import Engine
from codeling.generation.request import Completion, Request, SamplingParams
from codeling.progress import Progress


@dataclass(frozen=True)
class Function:
    text: str
    repository: str = "repo"
    path: str = "a.py"
    start_line: int = 1


class Scripted:
    """An engine that answers prompts from a list and records its calls."""

    def __init__(self, *answers: tuple[str, str]) -> None:
        self.answers = answers
        self.prompts: list[str] = []
        self.params = SamplingParams()
        self.runner = None

    def complete_requests(
        self, requests: list[Request], batch_size: int, progress: Progress
    ) -> list[Completion]:
        result = []
        for request in requests:
            self.params = request.params
            if request.sample == 0:
                self.prompts.append(request.prompt)
            text, reason = self.answers[(len(self.prompts) - 1) % len(self.answers)]
            result.append(Completion(text, (), cast("Any", reason)))
        return result


def rate(engine: Scripted, functions: list[Function], completions: int) -> Any:
    return parse_rate(
        cast("Engine", engine),
        functions,
        completions=completions,
        max_new_tokens=7,
        temperature=0.2,
        prose_temperature=0.9,
        top_p=0.8,
        max_repeats=4,
        seed=5,
    )


@pytest.mark.parametrize(
    "reason, expected",
    [("length", "    a = 1\n"), ("block", None), ("end_of_text", None)],
)
def test_an_unfinished_line_is_cut_only_where_tokens_ran_out(
    reason: str, expected: str | None
) -> None:
    answer = "    a = 1\n    b = (\n        2,\n"
    result = rate(Scripted((answer, reason)), [Function("def f(x):\n    return x\n")], 1)
    assert result.samples[0].completion == (answer if expected is None else expected)


def test_every_completion_counts() -> None:
    functions = [Function(f"def f{n}(x):\n    return x + {n}\n", path=f"{n}.py") for n in range(40)]
    engine = Scripted(
        ("    return x\n", "block"),
        ("    return (\n", "block"),
        ("    x = 1\n    y = (", "length"),
        ("", "end_of_text"),
    )
    result = rate(engine, functions, 40)
    assert len(result.samples) == 40
    assert [result.count(o) for o in ("parsed", "broken", "empty")] == [20, 10, 10]
    assert result.value == 0.5
    assert result.num_functions == 40
    assert engine.params == SamplingParams(
        max_new_tokens=7, temperature=0.2, prose_temperature=0.9, top_p=0.8, max_repeats=4, seed=5,
        stop_at_block_end=True,
    )  # fmt: skip
    assert {s.completion for s in result.samples if s.finish_reason == "length"} == {"    x = 1\n"}


def test_the_order_of_the_functions_does_not_matter() -> None:
    functions = [Function(f"def f{n}():\n    return {n}\n", path=f"{n}.py") for n in range(50)]
    one, two = Scripted(("    pass\n", "block")), Scripted(("    pass\n", "block"))
    assert rate(one, functions, 10).samples == rate(two, functions[::-1], 10).samples
    assert one.prompts == two.prompts
    assert len(set(one.prompts)) == 10


def test_few_functions_are_completed_several_times() -> None:
    functions = [Function("def f(:"), *(Function(f"def f{n}():\n    n\n") for n in range(3))]
    engine = Scripted(("    pass\n", "block"))
    assert len(rate(engine, functions, 10).samples) == 10
    assert len(engine.prompts) == 3


def test_a_prompt_too_long_for_the_smallest_model_is_left_out() -> None:
    texts = [f'def f(x):\n    """{"a" * n}"""\n    return x\n' for n in (480, 500)]
    engine = Scripted(("    return x\n", "block"))
    rate(engine, [Function(text) for text in texts], 2)
    assert [len(prompt) <= MAX_PROMPT_BYTES for prompt in engine.prompts] == [True]


def test_no_functions_give_no_samples() -> None:
    assert rate(Scripted(), [Function("x = 1")], 10).samples == ()


def test_noise_in_a_string_is_a_stub_and_not_a_parsed_body() -> None:
    functions = [Function(f"def f{n}():\n    return {n}\n", path=f"{n}.py") for n in range(4)]
    noise = '    """' + "x = (1 2 " * 30 + '"""\n'
    result = rate(Scripted((noise, "block"), ("    return 1\n", "block")), functions, 4)
    assert [result.count(o) for o in ("parsed", "stub", "broken", "empty")] == [2, 2, 0, 0]
    assert result.value == 0.5


def sample(function: int, outcome: Any) -> BodySample:
    return BodySample("repo", f"{function}.py", 1, "def f():\n", "", "block", outcome)


def test_the_interval_resamples_functions_not_completions() -> None:
    """Completions that agree within a function say no more than one: brute-force bootstrap."""
    shares = [1, 1, 0, 1, 0, 0, 1]
    repeated = ParseRate(
        tuple(
            sample(number, "parsed" if share else "broken")
            for number, share in enumerate(shares)
            for _ in range(30)
        )
    )
    assert (repeated.num_functions, len(repeated.samples)) == (7, 210)
    low, high = repeated.interval(0) or (0.0, 0.0)
    random = Random(1)
    means = sorted(sum(random.choices(shares, k=7)) / 7 for _ in range(20_000))
    assert abs(low - means[500]) <= 1 / 7
    assert abs(high - means[-500]) <= 1 / 7
    assert high - low > 0.5, "as wide as for seven completions"
    assert repeated.interval(0) == repeated.interval(0)
    once = ParseRate(repeated.samples[::30])
    assert once.interval(0) == (low, high)


def test_functions_with_more_completions_weigh_more() -> None:
    rate = ParseRate((*[sample(0, "parsed")] * 9, sample(1, "broken")))
    assert rate.value == 0.9
    assert rate.interval(0) == (0.0, 1.0)


def test_one_function_has_no_interval_and_equal_outcomes_have_wilsons() -> None:
    assert ParseRate((sample(0, "parsed"), sample(0, "broken"))).interval(0) is None
    always = ParseRate(tuple(sample(n // 5, "parsed") for n in range(50)))
    assert always.interval(0) == wilson(1.0, 10)
