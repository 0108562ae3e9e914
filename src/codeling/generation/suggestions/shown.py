"""The suggestion that an editor shows, while its letters are typed.

A suggestion stays on the screen as long as the person types what it says: its remaining text is
shown again, without another request to the model. This module must not know torch or sockets.
"""


class ShownText:
    """The suggestion that one editor shows at one cursor."""

    def __init__(self) -> None:
        self._prefix = self._suffix = self._text = ""

    def show(self, prefix: str, suffix: str, text: str) -> None:
        """Record that ``text`` is shown between ``prefix`` and ``suffix``; empty: nothing is."""
        self._prefix, self._suffix, self._text = prefix, suffix, text

    def is_at(self, prefix: str, suffix: str) -> bool:
        """Whether the last text was shown between ``prefix`` and ``suffix``."""
        return (prefix, suffix) == (self._prefix, self._suffix)

    def remaining(self, prefix: str, suffix: str) -> str:
        """The part of the shown text that is still to be typed; empty if it does not fit."""
        if suffix != self._suffix or not prefix.startswith(self._prefix):
            return ""
        typed = prefix[len(self._prefix) :]
        return self._text[len(typed) :] if self._text.startswith(typed) else ""
