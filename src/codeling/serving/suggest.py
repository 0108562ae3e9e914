"""Ghost text, for the language server and for every dialect with a text after the cursor.

The rules are :mod:`codeling.generation.suggestions`; here they meet what a client asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from codeling.generation.request import Request
from codeling.generation.sequence import Sequence
from codeling.generation.suggestions.choice import Suggestion
from codeling.generation.suggestions.place import find_place
from codeling.generation.suggestions.suggester import Suggester


@dataclass(frozen=True)
class SuggestionPlan:
    """A request to the engine, and how its result becomes text."""

    request: Request | None
    """None: nothing is asked for, and the text is empty."""
    shown: Callable[[Sequence], str] | None = None
    """Ended sequence to what is shown of it. None: all of its text, as it is made."""
    suggestion: Callable[[Sequence], Suggestion | None] | None = None
    """The same with its probability and its proposer."""


def suggest(suggester: Suggester, prefix: str, suffix: str, asked: Request) -> SuggestionPlan:
    """The plan for what may be shown between ``prefix`` and ``suffix``.

    The limit, the sampling and the stop strings that a client ``asked`` for apply beside the rules
    of suggestions. Samples are not branched: they would become the same text.
    """
    place = find_place(prefix, suffix)
    if place is None:
        return SuggestionPlan(None)
    request = suggester.request(place, prefix, suffix)
    rules = request.params
    params = replace(
        asked.params,
        max_new_tokens=min(asked.params.max_new_tokens, rules.max_new_tokens),
        stop=(*rules.stops, *asked.params.stops),
        stop_at_block_end=rules.stop_at_block_end,
        min_probability=rules.min_probability,
        start_probability=rules.start_probability,
        start_length=rules.start_length,
        num_branches=1 if asked.params.temperature else rules.num_branches,
        branch_probability=rules.branch_probability,
    )

    def suggestion(sequence: Sequence) -> Suggestion | None:
        return suggester.suggestion(place, prefix, suffix, sequence)

    def shown(sequence: Sequence) -> str:
        found = suggestion(sequence)
        return "" if found is None else found.text

    request = replace(asked, prompt=request.prompt, suffix=request.suffix, params=params)
    return SuggestionPlan(request, shown, suggestion)
