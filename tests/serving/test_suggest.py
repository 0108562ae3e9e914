from dataclasses import replace

import pytest

from codeling.generation.engine import Engine
from codeling.generation.suggestions.suggester import Suggester, SuggestionSettings
from codeling.serving.protocol.query import Prompt, Query
from codeling.serving.requests import plans
from codeling.serving.suggest import SuggestionPlan

QUERY = Query((), max_new_tokens=200, temperature=0.5, top_k=7, top_p=0.9, seed=3, stop=("END",))


@pytest.fixture
def suggester(engine: Engine) -> Suggester:
    return Suggester(engine, SuggestionSettings(0.3))


def plan(suggester: Suggester, prefix: str, suffix: str, query: Query = QUERY) -> SuggestionPlan:
    query = replace(query, prompts=(Prompt(prefix, suffix),))
    [found] = plans(query, suggester, 1024, first_sample=2)
    return found


def test_the_rules_and_the_query_both_hold(suggester: Suggester) -> None:
    request = plan(suggester, "def f():\n    ", "\nf()\n").request
    assert request is not None
    assert request.params.stop_at_block_end
    assert request.params.stops == ("END",)
    assert (request.params.temperature, request.params.top_k, request.sample) == (0.5, 7, 2)
    line = plan(suggester, "x = ", "\nf()\n").request
    assert line is not None
    assert line.params.stops == ("\n", "END")
    assert line.params.min_probability
    assert line.params.max_new_tokens < 200
    assert line.params.num_branches == 1  # it is sampled
    short = plan(suggester, "x = ", "", Query((), max_new_tokens=3, temperature=0.0)).request
    assert short is not None
    assert short.params.max_new_tokens == 3
    assert short.params.num_branches > 1


def test_nothing_is_asked_for_within_a_word(suggester: Suggester) -> None:
    assert plan(suggester, "na", "me = 1\n").request is None
