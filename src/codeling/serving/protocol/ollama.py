"""Ollama's ``/api/generate``, ``/api/show`` and ``/api/tags``.

Clients: Zed, Continue, twinny. Source: docs/api.md of Ollama. Nothing is pulled, created or
removed. Durations are in nanoseconds. A stream is one JSON object per line.
"""

from datetime import datetime, timezone
from typing import Annotated

from pydantic import Field

from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Dialect, Json, nothing_more
from codeling.serving.protocol.fields import Body, SamplingBody
from codeling.serving.protocol.query import (
    Answer,
    Choice,
    Prompt,
    Query,
    ServedModel,
    TextPiece,
)

TEMPLATE = (
    "{{- if .Suffix }}<fim_prefix>{{ .Prompt }}<fim_suffix>{{ .Suffix }}<fim_middle>"
    "{{- else }}{{ .Prompt }}{{- end }}"
)
"""Continue sends a suffix only where the template contains ``.Suffix``."""


class OllamaOptions(SamplingBody):
    """The value of ``options``."""

    num_predict: Annotated[int, Field(ge=-2, le=fields.MAX_COUNT), fields.WHOLE] | None = None
    top_k: fields.Number | None = None


class OllamaGenerate(Body):
    """The body of ``/api/generate``."""

    prompt: fields.Text = ""
    suffix: fields.Text | None = None
    stream: bool | None = None
    options: OllamaOptions | None = None


class OllamaShow(Body):
    """The body of ``/api/show``."""

    model: fields.Name | None = None


def parse(body: Json) -> Query:
    """Body to query. :raises RequestError: it is invalid."""
    asked = fields.read(OllamaGenerate, body)
    options = asked.options or OllamaOptions()
    # Clients that do not know whether there is a suffix send an empty one.
    prompt = (
        Prompt(asked.prompt, asked.suffix) if asked.suffix else fields.split_markers(asked.prompt)
    )
    predict = options.num_predict
    if not asked.prompt and not asked.suffix:
        predict = 0  # a request to load the model
    return Query(
        (prompt,),
        1,
        fields.new_tokens(predict),
        **fields.sampling(options, options.top_k),
        stream=asked.stream is not False,
    )


def _head(model: ServedModel, text: str, done: bool) -> Json:
    created = _written(datetime.now(timezone.utc))
    return {"model": model.name, "created_at": created, "response": text, "done": done}


def _written(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _figures(choice: Choice) -> Json:
    prompt, predict = round(choice.prompt_seconds * 1e9), round(choice.predict_seconds * 1e9)
    return {
        "done_reason": "length" if choice.finish_reason == "length" else "stop",
        "total_duration": prompt + predict,
        "load_duration": 0,
        "prompt_eval_count": choice.num_prompt,
        "prompt_eval_duration": prompt,
        "eval_count": choice.num_new,
        "eval_duration": predict,
    }


def _answer(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Json:
    choice = answer.choices[0]
    return {**_head(model, choice.text, True), **_figures(choice)}


def _piece(query: Query, piece: TextPiece, model: ServedModel, identifier: str) -> Json:
    return _head(model, piece.text, False)


def _choice(query: Query, choice: Choice, model: ServedModel, identifier: str) -> Json:
    return {**_head(model, "", True), **_figures(choice)}


def error(status: int, message: str) -> Json:
    """The body of an error."""
    return {"error": message}


GENERATE = Dialect(
    "ollama", OllamaGenerate, parse, _answer, _piece, _choice, nothing_more, "ndjson", error
)


def _details(model: ServedModel) -> Json:
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": "gpt2",
        "families": ["gpt2"],
        "parameter_size": "",
        "quantization_level": "",
    }


def show(model: ServedModel) -> Json:
    """The body of ``POST /api/show``."""
    return {
        "template": TEMPLATE if model.can_infill else "{{ .Prompt }}",
        "details": _details(model),
        "model_info": {
            "general.architecture": "gpt2",
            "gpt2.context_length": model.context_length,
            "gpt2.vocab_size": model.vocab_size,
        },
        "capabilities": ["completion", "insert"] if model.can_infill else ["completion"],
    }


def tags(model: ServedModel) -> Json:
    """The body of ``GET /api/tags``."""
    entry = {
        "name": model.name,
        "model": model.name,
        "modified_at": _written(datetime.fromtimestamp(model.created, timezone.utc)),
        "size": 0,
        "digest": "",
        "details": _details(model),
    }
    return {"models": [entry]}
