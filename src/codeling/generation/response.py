"""The JSON answer to a request for completions, for the command line and for a server.

This module must not know how completions are made.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from codeling.generation.request import Completion


@dataclass(frozen=True)
class CompletionResponse:
    """The completions of one prompt. Its fields are the keys of the JSON object."""

    model: str
    """The model as the user named it."""
    prompt: str
    suffix: str | None
    completions: Sequence[Completion]
    """Each is an object with the fields of :class:`~codeling.generation.request.Completion`."""

    def to_json(self) -> str:
        """The JSON object, on one line."""
        return json.dumps(asdict(self), ensure_ascii=False)
