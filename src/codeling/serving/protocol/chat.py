"""OpenAI's chat completions, ``POST /v1/chat/completions``, for infilling alone.

marimo sends the text around the cursor as the last user message: between its infilling tokens
(0.25), or with ``<FILL_ME>`` where the cursor is (before). The model does not follow instructions,
so any other message is an error that says so.
Source: marimo/_server/api/endpoints/ai.py and _server/ai/prompts.py of marimo.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Dialect, Json
from codeling.serving.protocol.fields import Body, SamplingBody
from codeling.serving.protocol.openai import StreamOptions, finish_reason, usage
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Prompt,
    Query,
    RequestError,
    ServedModel,
    TextPiece,
)

FILL_ME = "<FILL_ME>"
_BEGIN = "<\u200d?"
"""marimo 0.25 writes a zero-width joiner after the first character of its tokens."""
_INFILLING = re.compile(
    rf"{_BEGIN}\|fim_prefix\|>(?P<prefix>.*?){_BEGIN}\|fim_suffix\|>(?P<suffix>.*)"
    rf"{_BEGIN}\|fim_middle\|>",
    re.DOTALL,
)
_NO_CHAT = (
    f"this model completes Python and does not chat: the last user message must contain {FILL_ME} "
    "where the cursor is; other requests belong to /v1/completions"
)


class ChatPart(Body):
    """A part of a message."""

    type: fields.Name
    text: fields.Text | None = None


class ChatMessage(Body):
    """One message."""

    role: fields.Name
    content: fields.Text | Annotated[list[ChatPart], Field(max_length=64)] | None = None


class ChatCompletion(SamplingBody):
    """The body of a chat completion."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=256)]
    max_tokens: fields.Count | None = None
    max_completion_tokens: fields.Count | None = None
    n: fields.Choices | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: fields.Name | None = None
    tools: Annotated[list[Any], Field(max_length=256)] | None = None


def parse(body: Json) -> Query:
    """Body to query. :raises RequestError: it is invalid, or a chat."""
    asked = fields.read(ChatCompletion, body)
    text = _last_user_message(asked.messages)
    prompt = _prompt_of(text)
    if prompt is None or asked.tools:
        raise RequestError(400, _NO_CHAT)
    limit = asked.max_tokens if asked.max_tokens is not None else asked.max_completion_tokens
    return Query(
        (prompt,),
        asked.n or 1,
        fields.new_tokens(limit),
        **fields.sampling(asked),
        stream=bool(asked.stream),
        include_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        session=f"user {asked.user}" if asked.user else None,
    )


def _prompt_of(text: str) -> Prompt | None:
    """The text before and after the cursor; None if the message does not mark it."""
    if match := _INFILLING.fullmatch(text):
        return Prompt(match["prefix"], match["suffix"])
    prefix, marker, suffix = text.partition(FILL_ME)
    return Prompt(prefix, suffix) if marker else None


def _last_user_message(messages: Sequence[ChatMessage]) -> str:
    for message in reversed(messages):
        if message.role == "user":
            if isinstance(message.content, str):
                return message.content
            return "".join(part.text or "" for part in message.content or ())
    return ""


def _head(model: ServedModel, identifier: str, kind: Literal["", ".chunk"]) -> Json:
    return {
        "id": f"chatcmpl-{identifier}",
        "object": f"chat.completion{kind}",
        "created": model.created,
        "model": model.name,
    }


def _answer(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Json:
    choices = [
        {
            "index": choice.index,
            "message": {"role": "assistant", "content": choice.text},
            "logprobs": None,
            "finish_reason": finish_reason(choice),
        }
        for choice in answer.choices
    ]
    return {**_head(model, identifier, ""), "choices": choices, "usage": usage(query, answer)}


def _piece(query: Query, piece: TextPiece, model: ServedModel, identifier: str) -> Json:
    delta = {"role": "assistant", "content": piece.text}
    choice = {"index": piece.index, "delta": delta, "finish_reason": None}
    return {**_head(model, identifier, ".chunk"), "choices": [choice]}


def _choice(query: Query, choice: Choice, model: ServedModel, identifier: str) -> Json:
    last = {"index": choice.index, "delta": {}, "finish_reason": finish_reason(choice)}
    return {**_head(model, identifier, ".chunk"), "choices": [last]}


def _end(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Iterable[Json]:
    if query.include_usage:
        yield {
            **_head(model, identifier, ".chunk"),
            "choices": [],
            "usage": usage(query, answer),
        }


CHAT = Dialect(
    "openai chat",
    ChatCompletion,
    parse,
    _answer,
    _piece,
    _choice,
    _end,
    "sse with [DONE]",
)
