"""The OpenAPI description of the routes, made from the fields that each dialect reads.

It is for people who write a client and for programs that test one. Source: OpenAPI 3.1.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from codeling.serving.protocol.dialect import Json
from codeling.serving.protocol.fields import MAX_COUNT, Body
from codeling.serving.protocol.query import ServedModel

PATH = "/openapi.json"
_JSON = "application/json"
_ERRORS = {
    "400": "A field is missing, of a wrong type or out of range.",
    "401": "The token is missing or wrong.",
    "403": "The Host or Origin header names another site.",
    "405": "The route has other methods.",
    "408": "The body arrived too slowly.",
    "413": "The body is too large.",
    "429": "Too many completions are in progress; Retry-After gives the time to wait.",
    "503": "The server did not get to the request in time.",
}
_WITHOUT_BODY = ("401", "403", "405")


@dataclass(frozen=True)
class Endpoint:
    """A route and what it takes."""

    method: Literal["GET", "POST"]
    path: str
    summary: str
    handler: Callable[[Request], Awaitable[Response]]
    bodies: Sequence[type[Body]] = ()
    """The fields of a body, or of one of several kinds of body."""
    answers: Sequence[str] = (_JSON,)
    """Media types of an answer."""


def describe(endpoints: Iterable[Endpoint], model: ServedModel) -> Json:
    """The description of ``endpoints`` as JSON."""
    endpoints = list(endpoints)
    bodies = {body: None for endpoint in endpoints for body in endpoint.bodies}
    _, definitions = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "codeling",
            "version": model.version,
            "description": "The routes of the server's own pages are left out: /playground/ and "
            "/run/ change with the page.",
        },
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": _with_vocabulary(definitions.get("$defs", {}), model.vocab_size),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint) -> Json:
    answer: Json = {kind: {} for kind in endpoint.answers}  # a stream has events of any shape
    if _JSON in answer:  # an object, or several for a client that asks for several completions
        answer[_JSON] = {"schema": {"type": ["object", "array"]}}
    error = {_JSON: {"schema": {"type": "object", "required": ["error"]}}}
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": answer}}
    for status, text in _ERRORS.items():
        if endpoint.bodies or status in _WITHOUT_BODY:
            responses[status] = {"description": text, "content": error}
    operation: Json = {"summary": endpoint.summary, "responses": responses}
    if endpoint.bodies:
        schemas = [{"$ref": f"#/components/schemas/{body.__name__}"} for body in endpoint.bodies]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        content = {_JSON: {"schema": schema}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _with_vocabulary(schema: Any, vocab_size: int) -> Any:
    """``schema`` with the vocabulary's size as the limit of ids."""
    if isinstance(schema, list):
        return [_with_vocabulary(each, vocab_size) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _with_vocabulary(value, vocab_size) for key, value in schema.items()}
    return found | {"exclusiveMaximum": vocab_size} if _is_id(found) else found


def _is_id(schema: Json) -> bool:
    return schema.get("exclusiveMaximum") == MAX_COUNT and schema.get("minimum") == 0
