"""The suggestion that an editor shows, while its letters are typed.

A suggestion stays on the screen as long as the person types what it says: its remaining text is
returned again, without another request to the model. This module must not know torch or sockets.
"""

from dataclasses import replace

from codeling.generation.suggestions.choice import Suggestion
from codeling.generation.suggestions.suggester import Suggester


class ShownSuggestion:
    """What one editor shows at one cursor."""

    def __init__(self, suggester: Suggester) -> None:
        self._suggester = suggester
        self._prefix = self._suffix = ""
        self._suggestion: Suggestion | None = None

    def suggest(self, prefix: str, suffix: str = "") -> Suggestion | None:
        """Like :meth:`Suggester.suggest`, but keeps what is shown while it is being typed."""
        remaining = self.remaining(prefix, suffix)
        if remaining is None:
            remaining = self._suggester.suggest(prefix, suffix)
        self.show(prefix, suffix, remaining)
        return remaining

    def show(self, prefix: str, suffix: str, suggestion: Suggestion | None) -> None:
        """Record that ``suggestion`` is shown between ``prefix`` and ``suffix``."""
        self._prefix, self._suffix, self._suggestion = prefix, suffix, suggestion

    def remaining(self, prefix: str, suffix: str) -> Suggestion | None:
        """The part of the shown suggestion that is still to be typed; None if it does not fit."""
        shown = self._suggestion
        if shown is None or suffix != self._suffix or not prefix.startswith(self._prefix):
            return None
        typed = prefix[len(self._prefix) :]
        if not shown.text.startswith(typed) or typed == shown.text:
            return None
        return replace(shown, text=shown.text[len(typed) :])
