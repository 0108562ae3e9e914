"""Ghost text: what every dialect with a text behind the cursor, and the language server, shows.

The rules are :mod:`codeling.generation.suggestions`; here they meet the settings of a query.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from codeling.generation.request import Request
from codeling.generation.sequence import Sequence
from codeling.generation.suggestions.place import find_place
from codeling.generation.suggestions.suggester import Suggester
from codeling.serving.protocol.query import Query


@dataclass(frozen=True)
class SuggestionPlan:
    """What the engine is asked for, and how its answer becomes text."""

    request: Request | None
    """None: nothing is asked for, and the text is empty."""
    shown: Callable[[Sequence], str] | None = None
    """Ended sequence to what is shown of it. None: all of its text, as it is made."""


def suggest(
    suggester: Suggester,
    prefix: str,
    suffix: str,
    query: Query,
    temperature: float,
    sample: int,
) -> SuggestionPlan:
    """The plan for what may be shown between ``prefix`` and ``suffix``.

    The query's limit, sampling and stop strings apply beside the rules of suggestions.
    """
    place = find_place(prefix, suffix)
    if place is None:
        return SuggestionPlan(None)
    request = suggester.request(place, prefix, suffix)
    params = replace(
        request.params,
        max_new_tokens=max(1, min(query.max_new_tokens, request.params.max_new_tokens)),
        stop=(*request.params.stops, *query.stop),
        temperature=temperature,
        top_k=query.top_k,
        top_p=query.top_p,
        seed=query.seed or 0,
    )

    def shown(sequence: Sequence) -> str:
        found = suggester.suggestion(place, prefix, suffix, sequence)
        return "" if found is None else found.text

    return SuggestionPlan(replace(request, params=params, sample=sample), shown)
