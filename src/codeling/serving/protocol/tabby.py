"""Tabby's four routes: completion, health, settings and events.

Clients: Tabby's plugins for VS Code, JetBrains and Vim. ``POST /v1/completions`` has OpenAI's path;
a body with ``segments`` is Tabby's. Source: clients/tabby-openapi of Tabby.
"""

import os
import platform
from typing import Annotated, Literal

from pydantic import Field

from codeling.serving.protocol import fields
from codeling.serving.protocol.dialect import Dialect, Json
from codeling.serving.protocol.fields import Body
from codeling.serving.protocol.query import (
    Answer,
    Prompt,
    Query,
    SentFile,
    ServedModel,
)


class TabbySnippet(Body):
    """A part of another file: a declaration of what is used here, or what was changed there."""

    filepath: fields.FilePath
    body: fields.Text


_Snippets = Annotated[list[TabbySnippet], Field(max_length=fields.MAX_FILES)]


class TabbySegments(Body):
    """The text around the cursor, and parts of other files, the most relevant first."""

    prefix: fields.Text
    suffix: fields.Text | None = None
    declarations: _Snippets | None = None
    relevant_snippets_from_changed_files: _Snippets | None = None
    relevant_snippets_from_recently_opened_files: _Snippets | None = None

    def files(self) -> tuple[SentFile, ...]:
        """The other files, the nearest last."""
        snippets = [
            *(self.declarations or ()),
            *(self.relevant_snippets_from_changed_files or ()),
            *(self.relevant_snippets_from_recently_opened_files or ()),
        ]
        return tuple(SentFile(each.filepath, each.body) for each in reversed(snippets))


class TabbyCompletion(Body):
    """The body of a completion."""

    segments: TabbySegments
    temperature: fields.Temperature | None = None
    seed: fields.Seed | None = None
    user: fields.Name | None = None


class TabbyEvent(Body):
    """The body of ``/v1/events``: what became of a suggestion."""

    type: Literal["view", "select", "dismiss"]
    completion_id: fields.Name
    choice_index: Annotated[int, Field(ge=0, le=fields.MAX_COUNT), fields.WHOLE] = 0


def parse(body: Json) -> Query:
    """Body to query. :raises RequestError: it is invalid."""
    asked = fields.read(TabbyCompletion, body)
    return Query(
        (Prompt(asked.segments.prefix, asked.segments.suffix or ""),),
        temperature=asked.temperature,
        seed=fields.seed_of(asked.seed),
        files=asked.segments.files(),
        session=f"user {asked.user}" if asked.user else None,
    )


def _answer(query: Query, answer: Answer, model: ServedModel, identifier: str) -> Json:
    choices = [{"index": choice.index, "text": choice.text} for choice in answer.choices]
    return {"id": f"cmpl-{identifier}", "choices": choices}


COMPLETIONS = Dialect("tabby", TabbyCompletion, parse, _answer)


def health(model: ServedModel) -> Json:
    """The body of ``GET /v1/health``. Clients complete only where ``model`` is not empty."""
    return {
        "model": model.name,
        "device": model.device,
        "arch": platform.machine(),
        "cpu_info": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count() or 1,
        "cuda_devices": [],
        "version": {
            "build_date": "",
            "build_timestamp": "",
            "git_sha": "",
            "git_describe": f"v{model.version}",
        },
    }


def server_setting() -> Json:
    """The body of ``GET /v1beta/server_setting``."""
    return {"disable_client_side_telemetry": True}
