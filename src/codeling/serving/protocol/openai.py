"""OpenAI's completions: ``POST /v1/completions`` and ``GET /v1/models``.

Source: https://platform.openai.com/docs/api-reference/completions. The prompt may be a text, a list
of texts, a list of ids or a list of those. Infilling tokens in the text (Zed, Continue) and
``suffix`` (minuet) mean the same. Penalties, ``logit_bias`` and ``best_of`` are ignored.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Dialect, Json
from codeling.serving.protocol.fields import Body, SamplingBody
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Prompt,
    Query,
    RequestError,
    ServedModel,
    TextPiece,
    TokenScore,
)


class StreamOptions(Body):
    """The value of ``stream_options``."""

    include_usage: bool | None = None


class OpenAICompletion(SamplingBody):
    """The body of a completion."""

    prompt: (
        fields.Text
        | fields.TokenIds
        | Annotated[list[fields.Text], Field(min_length=1, max_length=fields.MAX_PROMPTS)]
        | Annotated[list[fields.TokenIds], Field(min_length=1, max_length=fields.MAX_PROMPTS)]
    )
    suffix: fields.Text | None = None
    max_tokens: fields.Count | None = None
    top_k: fields.Number | None = None
    n: fields.Choices | None = None
    logprobs: Annotated[int, Field(ge=0, le=fields.MAX_LOGPROBS), fields.WHOLE] | bool | None = None
    echo: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: fields.Name | None = None


def parse(body: Json) -> Query:
    """Body of a completion to query. :raises RequestError: it is invalid."""
    asked = fields.read(OpenAICompletion, body)
    prompts = tuple(_prompts(asked))
    n = asked.n or 1
    if n * len(prompts) > 2 * fields.MAX_PROMPTS:
        raise RequestError(400, f"n times the number of prompts is above {2 * fields.MAX_PROMPTS}")
    wants = None if asked.logprobs is None or asked.logprobs is False else int(asked.logprobs)
    return Query(
        prompts,
        n,
        fields.new_tokens(asked.max_tokens),
        **fields.sampling(asked, asked.top_k),
        num_logprobs=wants,
        echo=bool(asked.echo),
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        session=f"user {asked.user}" if asked.user else None,
    )


def _prompts(asked: OpenAICompletion) -> Iterable[Prompt]:
    given = asked.prompt
    is_one = isinstance(given, str) or not given or isinstance(given[0], int)
    several: Sequence[Any] = [given] if is_one else given
    for each in several:
        if not isinstance(each, str):
            if asked.suffix is not None:
                raise RequestError(400, "suffix: only with a prompt that is a text")
            yield Prompt("", None, tuple(each))
        elif asked.suffix is not None:
            yield Prompt(each, asked.suffix)
        else:
            yield fields.split_markers(each)


def finish_reason(choice: Choice) -> str:
    """OpenAI's name of the reason."""
    return "length" if choice.finish_reason == "length" else "stop"


def usage(query: Query, answer: Answer) -> Json:
    """The number of tokens."""
    prompt, new = answer.usage(query.n)
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def _logprobs(scores: Sequence[TokenScore] | None) -> Json | None:
    if scores is None:
        return None
    return {
        "tokens": [score.token for score in scores],
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [None if score.logprob is None else dict(score.top) for score in scores],
        "text_offset": [score.offset for score in scores],
    }


def _head(model: ServedModel, identifier: str) -> Json:
    return {
        "id": f"cmpl-{identifier}",
        "object": "text_completion",
        "created": model.created,
        "model": model.name,
    }


def _answer(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Json:
    choices = [
        {
            "index": choice.index,
            "text": choice.text,
            "logprobs": _logprobs(choice.scores),
            "finish_reason": finish_reason(choice),
        }
        for choice in answer.choices
    ]
    return {**_head(model, identifier), "choices": choices, "usage": usage(query, answer)}


def _piece(query: Query, piece: TextPiece, model: ServedModel, identifier: str) -> Json:
    return {
        **_head(model, identifier),
        "choices": [
            {
                "index": piece.index,
                "text": piece.text,
                "logprobs": _logprobs(piece.scores),
                "finish_reason": None,
            }
        ],
    }


def _choice(query: Query, choice: Choice, model: ServedModel, identifier: str) -> Json:
    event = _piece(query, TextPiece(choice.index, ""), model, identifier)
    event["choices"][0]["finish_reason"] = finish_reason(choice)
    return event


def _end(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Iterable[Json]:
    if query.include_usage:
        yield {**_head(model, identifier), "choices": [], "usage": usage(query, answer)}


COMPLETIONS = Dialect(
    "openai", OpenAICompletion, parse, _answer, _piece, _choice, _end, "sse with [DONE]"
)


def models(model: ServedModel) -> Json:
    """The body of ``GET /v1/models``. ``meta`` is llama.cpp's; clients then read ``/props``."""
    entry = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "codeling",
        "meta": {"n_vocab": model.vocab_size, "n_ctx_train": model.context_length},
    }
    return {"object": "list", "data": [entry]}
