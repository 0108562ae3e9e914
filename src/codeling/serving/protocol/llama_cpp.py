"""llama.cpp's server: ``/infill``, ``/completion``, ``/health``, ``/props``, ``/tokenize``.

Clients: llama.vim, llama.vscode, Continue. Source: tools/server/README.md of llama.cpp, and what
the clients read. ``samplers`` and ``n_indent`` are ignored, and ``t_max_prompt_ms`` is the server's
own deadline. ``sources``, which only ours has, asks for the places that the memory copied from;
``withheld`` says that something was generated and nothing of it is shown. Times are in
milliseconds.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from codeling.generation.text.decoding import FinishReason
from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import (
    Dialect,
    Json,
    sources_of,
)
from codeling.serving.protocol.fields import Body, SamplingBody
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Prompt,
    Query,
    SentFile,
    ServedModel,
    TextPiece,
)

_STOP_TYPES: dict[FinishReason, str] = {
    "stop": "word",
    "length": "limit",
    "block": "word",
    "end_of_text": "eos",
    "unlikely": "limit",
}
"""llama.cpp's name of each reason."""
_SLOTS = Annotated[int, Field(ge=-1, lt=1 << 16), fields.WHOLE]
_MILLISECONDS = (
    Annotated[int, Field(ge=-1, le=1 << 40), fields.WHOLE] | Annotated[float, Field(ge=-1, le=1e12)]
)


class LlamaSettings(SamplingBody):
    """Fields of both ``/infill`` and ``/completion``."""

    n_predict: fields.Number | None = None
    n_cmpl: fields.Choices | None = None
    top_k: fields.Number | None = None
    stream: bool | None = None
    n_probs: Annotated[int, Field(ge=0, le=fields.MAX_LOGPROBS), fields.WHOLE] | None = None
    id_slot: _SLOTS | None = None
    t_max_predict_ms: _MILLISECONDS | None = None
    response_fields: Annotated[list[fields.Name], Field(max_length=64)] | None = None


class LlamaExtra(Body):
    """Another file, or a part of it."""

    filename: fields.FilePath | None = None
    text: fields.Text


class LlamaInfill(LlamaSettings):
    """The body of ``/infill``."""

    input_prefix: fields.Text = ""
    input_suffix: fields.Text = ""
    input_extra: Annotated[list[LlamaExtra], Field(max_length=fields.MAX_FILES)] | None = None
    prompt: fields.Text | None = None
    sources: bool | None = None


class LlamaCompletion(LlamaSettings):
    """The body of ``/completion``."""

    prompt: fields.Text | fields.TokenIds


class LlamaTokenize(Body):
    """The body of ``/tokenize``."""

    content: fields.Text
    add_special: bool | None = None
    with_pieces: bool | None = None


class LlamaDetokenize(Body):
    """The body of ``/detokenize``."""

    tokens: fields.TokenIds


def parse_infill(body: Json) -> Query:
    """Body of ``/infill`` to query. :raises RequestError: it is invalid."""
    asked = fields.read(LlamaInfill, body)
    query = _query(asked, Prompt(asked.input_prefix + (asked.prompt or ""), asked.input_suffix))
    files = tuple(SentFile(each.filename or "", each.text) for each in asked.input_extra or ())
    return replace(query, files=files, with_details=bool(asked.sources))


def parse_completion(body: Json) -> Query:
    """Body of ``/completion`` to query. :raises RequestError: it is invalid."""
    asked = fields.read(LlamaCompletion, body)
    if isinstance(asked.prompt, str):
        return _query(asked, fields.split_markers(asked.prompt))
    return _query(asked, Prompt("", None, tuple(asked.prompt)))


def _query(asked: LlamaSettings, prompt: Prompt) -> Query:
    limit = asked.t_max_predict_ms
    has_slot = asked.id_slot is not None and asked.id_slot >= 0
    return Query(
        (prompt,),
        asked.n_cmpl or 1,
        fields.new_tokens(asked.n_predict),
        **fields.sampling(asked, asked.top_k),
        stream=bool(asked.stream),
        max_predict_seconds=fields.milliseconds(None if limit is None else int(limit)),
        session=f"slot {asked.id_slot}" if has_slot else None,
        response_fields=tuple(asked.response_fields or ()),
    )


def timings(choice: Choice) -> Json:
    """Numbers of tokens read and written, and their rates."""
    num_read = choice.num_prompt - choice.num_reused
    figures: Json = {"cache_n": choice.num_reused}
    for name, number, seconds in (
        ("prompt", num_read, choice.prompt_seconds),
        ("predicted", choice.num_new, choice.predict_seconds),
    ):
        figures[f"{name}_n"] = number
        figures[f"{name}_ms"] = fields.rounded(1000 * seconds)
        figures[f"{name}_per_token_ms"] = fields.rounded(1000 * seconds / max(number, 1))
        figures[f"{name}_per_second"] = fields.rounded(number / seconds) if seconds > 0 else 0.0
    return figures


def _whole(query: Query, choice: Choice, model: ServedModel) -> Json:
    return {
        "index": choice.index,
        "content": choice.text,
        "tokens": list(choice.ids),
        "id_slot": 0,
        "stop": True,
        "model": model.name,
        "tokens_predicted": choice.num_new,
        "tokens_evaluated": choice.num_prompt,
        "tokens_cached": choice.num_reused,
        "generation_settings": generation_settings(model, query),
        "prompt": "",
        "has_new_line": "\n" in choice.text,
        "truncated": False,
        "withheld": choice.is_withheld,
        "stop_type": _STOP_TYPES[choice.finish_reason],
        "stopping_word": choice.stop_string,
        "timings": timings(choice),
        **({"sources": sources_of(choice)} if choice.details else {}),
    }


def generation_settings(model: ServedModel, query: Query | None = None) -> Json:
    """The settings of a query, or the defaults. llama.vscode reads ``n_ctx``."""
    asked = query or Query(())
    return {
        "n_ctx": model.context_length,
        "n_predict": asked.max_new_tokens,
        "temperature": asked.temperature or 0.0,
        "top_k": asked.top_k or 0,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "seed": asked.seed or 0,
        "stop": list(asked.stop),
        "stream": asked.stream,
    }


def _selected(whole: Json, names: tuple[str, ...]) -> Json:
    """Only ``names``, as flat keys: ``timings/prompt_n`` is looked up in ``timings``."""
    if not names:
        return whole
    found: Json = {}
    for name in names:
        value: Any = whole
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found[name] = value
    return found


def _answer(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Any:
    bodies = [
        _selected(_whole(query, choice, model), query.response_fields) for choice in answer.choices
    ]
    return bodies[0] if len(bodies) == 1 else bodies


def _piece(query: Query, piece: TextPiece, model: ServedModel, identifier: str) -> Json:
    return {"index": piece.index, "content": piece.text, "tokens": [], "stop": False}


def _choice(query: Query, choice: Choice, model: ServedModel, identifier: str) -> Json:
    return {**_whole(query, choice, model), "content": "", "tokens": []}


INFILL = Dialect("llama.cpp infill", LlamaInfill, parse_infill, _answer, _piece, _choice)
COMPLETION = replace(INFILL, name="llama.cpp", body=LlamaCompletion, parse=parse_completion)


def props(model: ServedModel) -> Json:
    """The body of ``GET /props``."""
    settings = generation_settings(model)
    return {
        "default_generation_settings": {"n_ctx": model.context_length, "params": settings},
        "total_slots": model.num_slots,
        "model_path": model.name,
        "chat_template": "",
        "build_info": f"codeling {model.version}",
    }
