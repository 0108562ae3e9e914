"""The dialect of the playground: ghost text with what is known of each of its tokens.

It asks the same query as ``/infill`` and gets the same text. This module must not know HTTP.
"""

import math
from typing import Annotated, Any

from pydantic import Field

from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Dialect, Json, sources_of
from codeling.serving.protocol.fields import Body
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    ChoiceDetails,
    Prompt,
    Query,
    ServedModel,
    TokenScore,
)

_NUM_ALTERNATIVES = 5
"""Most likely tokens shown in each place."""


class PlaygroundCompletion(Body):
    """The body of ``/playground/complete``."""

    prefix: fields.Text
    suffix: fields.Text = ""
    n: fields.Choices = 1
    max_tokens: Annotated[int, Field(ge=1, le=fields.MAX_COUNT)] | None = None
    temperature: fields.Temperature | None = None
    seed: fields.Seed | None = None
    session: fields.Name | None = None


def parse(body: Json) -> Query:
    """Body to query. :raises RequestError: it is invalid."""
    asked = fields.read(PlaygroundCompletion, body)
    return Query(
        (Prompt(asked.prefix, asked.suffix),),
        asked.n,
        fields.new_tokens(asked.max_tokens),
        asked.temperature,
        seed=fields.seed_of(asked.seed),
        num_logprobs=_NUM_ALTERNATIVES,
        with_details=True,
        session=f"playground {asked.session}" if asked.session else None,
    )


def _answer(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Json:
    return {"choices": [_shown(choice) for choice in answer.choices]}


def _shown(choice: Choice) -> Json:
    details = choice.details or ChoiceDetails()
    return {
        "text": choice.text,
        "proposer": details.proposer,
        "probability": _rounded(details.probability),
        "tokens": _tokens(choice, details) if details.proposer == "model" else [],
        "spans": sources_of(choice),
        "num_prompt": choice.num_prompt,
        "num_reused": choice.num_reused,
        "prompt_ms": fields.rounded(1000 * choice.prompt_seconds),
        "predict_ms": fields.rounded(1000 * choice.predict_seconds),
    }


def _tokens(choice: Choice, details: ChoiceDetails) -> list[Json]:
    """The tokens of the shown text. Their ``text`` adds up to it."""
    scores = choice.scores or ()
    if not scores:
        return []
    first = scores[0].offset + details.num_healed
    begins = [score.offset - first for score in scores]
    ends = [*begins[1:], len(choice.text)]
    tokens = []
    for index, (score, begin, end) in enumerate(zip(scores, begins, ends, strict=True)):
        if begin >= len(choice.text):
            break
        tokens.append(
            {
                "text": choice.text[max(0, begin) : max(0, end)],
                "token": score.token,
                "probability": _probability(score, index, details),
                "top": [[name, _rounded(math.exp(logprob))] for name, logprob in score.top],
                "shares": {
                    name: _rounded(share)
                    for name, share in _of_token(details.shares, index).items()
                },
            }
        )
    return tokens


def _probability(score: TokenScore, index: int, details: ChoiceDetails) -> float | None:
    """The probability of a token among those that were allowed in its place."""
    if index < len(details.probabilities):
        return _rounded(details.probabilities[index])
    return None if score.logprob is None else _rounded(math.exp(score.logprob))


def _of_token(shares: Any, index: int) -> dict[str, float]:
    return dict(shares[index]) if index < len(shares) else {"model": 1.0}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


PLAYGROUND = Dialect("playground", PlaygroundCompletion, parse, _answer)
