"""Where a script ends that a completion is written into: statements in a row, no block around them.

A script has no end of its own, so its problems say how the line begins that is no longer part of
it (``def``, ``print``, …). A word counts where a logical line begins at the margin, after a line
end in the completion: not within a string or brackets, not on the line that the prompt leaves
unfinished, and never in the prompt. This module must not know torch, ids or files.
"""

from collections.abc import Sequence

from codeling.generation.text.lines import LogicalLine


class ScriptEnd:
    """Text up to the first line at the margin that begins with one of some words.

    A word that ends in a letter ends where it is written out: ``if`` does not end at ``iffy``.
    """

    def __init__(self, prompt: str, words: Sequence[str]) -> None:
        """Read the prompt; nothing of it is ever cut."""
        self.ended = False
        self._words = tuple(words)
        self._line = LogicalLine()
        self._undecided = False
        """At the beginning of a line that may turn out to begin with a word."""
        self._held = ""
        """That line so far."""
        self._line.read(prompt)

    def feed(self, text: str) -> str:
        """What may be shown after ``text``; nothing more once :attr:`ended`."""
        shown = []
        for character in text:
            if self.ended:
                break
            shown.append(self._read(character))
        return "".join(shown)

    def finish(self) -> str:
        """What was held back of a last line that is no word after all."""
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
            if any(_begins(self._held, word) for word in self._words):
                self.ended, self._held = True, ""
                return ""
            if not line_ended and any(word.startswith(self._held) for word in self._words):
                return ""
            shown, self._held, self._undecided = self._held, "", False
        self._undecided = self._undecided or line_ended
        return shown


def _begins(text: str, word: str) -> bool:
    """Whether ``text`` begins with ``word``, written out."""
    rest = text[len(word) :]
    whole = not _is_letter(word[-1]) or bool(rest and not _is_letter(rest[0]))
    return text.startswith(word) and whole


def _is_letter(character: str) -> bool:
    return character == "_" or character.isalnum()
