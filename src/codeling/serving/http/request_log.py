"""One line per request, for a person who wants to know what an editor sends.

Texts are left out unless they are asked for.
"""

import json
import sys
from collections.abc import Callable

from codeling.quantity import quantity
from codeling.serving.protocol.query import Answer, Query

_SHOWN_CHARACTERS = 200


class RequestLog:
    """Writes lines to ``write``."""

    def __init__(
        self, *, with_texts: bool, write: Callable[[str], object] = sys.stderr.write
    ) -> None:
        self._with_texts = with_texts
        self._write = write

    def line(
        self,
        route: str,
        status: int,
        seconds: float,
        query: Query | None = None,
        answer: Answer | None = None,
        message: str = "",
    ) -> None:
        """Log a request that has ended; ``message`` is its error."""
        parts = [f"{route} {status} {1000 * seconds:.1f} ms"]
        if answer is not None:
            read = sum(choice.num_prompt for choice in answer.choices)
            reused = sum(choice.num_reused for choice in answer.choices)
            written = sum(choice.num_new for choice in answer.choices)
            reasons = ",".join(dict.fromkeys(choice.finish_reason for choice in answer.choices))
            parts.append(
                f"prompt {quantity(read, 'token')} ({reused} reused), new {written}, {reasons}"
            )
        if message:
            parts.append(message)
        if self._with_texts and query is not None:
            for prompt in query.prompts:
                parts.append(f"prefix {json.dumps(prompt.text[-_SHOWN_CHARACTERS:])}")
                if prompt.suffix is not None:
                    parts.append(f"suffix {json.dumps(prompt.suffix[:_SHOWN_CHARACTERS])}")
        if self._with_texts and answer is not None:
            parts += [f"text {json.dumps(choice.text)}" for choice in answer.choices]
        self._write("; ".join(parts) + "\n")
