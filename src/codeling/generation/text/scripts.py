"""End of a script: statements at the top level, without an enclosing block.

A script has no natural end, so the problem set gives the words that start the first line after it
(``def``, ``print``, …). A word counts at column 0 of a logical line that starts in the completion:
not within a string or brackets, not on the unfinished last line of the prompt, and not in the
prompt. This module must not know torch, ids or files.
"""

from collections.abc import Sequence

from codeling.generation.text.lines import LogicalLine


class ScriptEnd:
    """Passes text through up to the first line at column 0 that starts with one of ``words``.

    A word that ends in a letter must be a whole word: ``if`` does not match ``iffy``.
    """

    def __init__(self, prompt: str, words: Sequence[str]) -> None:
        """Read the prompt, which is never cut."""
        self.ended = False
        self._words = tuple(words)
        self._line = LogicalLine()
        self._undecided = False
        """At the start of a line that may start with one of the words."""
        self._held = ""
        """Text of that line so far."""
        self._line.read(prompt)

    def feed(self, text: str) -> str:
        """Add ``text``; return the text that is now certain, empty once :attr:`ended`."""
        shown = []
        for character in text:
            if self.ended:
                break
            shown.append(self._read(character))
        return "".join(shown)

    def finish(self) -> str:
        """Return the text held back if the last line is not one of the words."""
        self.ended = self.ended or self._held in self._words
        held, self._held = self._held, ""
        return "" if self.ended else held

    def _read(self, character: str) -> str:
        line_ended = self._line.feed(character)
        if line_ended:
            self._line.restart()
        shown = character
        if self._undecided:
            self._held += character
            if any(_starts_with(self._held, word) for word in self._words):
                self.ended, self._held = True, ""
                return ""
            if not line_ended and any(word.startswith(self._held) for word in self._words):
                return ""
            shown, self._held, self._undecided = self._held, "", False
        self._undecided = self._undecided or line_ended
        return shown


def _starts_with(text: str, word: str) -> bool:
    """Whether ``text`` starts with ``word`` as a whole word."""
    rest = text[len(word) :]
    whole = not _is_letter(word[-1]) or bool(rest and not _is_letter(rest[0]))
    return text.startswith(word) and whole


def _is_letter(character: str) -> bool:
    return character == "_" or character.isalnum()
