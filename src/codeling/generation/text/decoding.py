"""Decodes the bytes of sampled tokens to text, and finds where a completion ends.

The classes are incremental: each takes pieces of text and returns the text that is certain so far.
:class:`Utf8Decoder` handles characters that span tokens, :class:`StopStringFilter` stop strings
that span tokens. :class:`~codeling.generation.text.blocks.BlockEnd` and
:class:`~codeling.generation.text.scripts.ScriptEnd` find the end of code. The total output does not
depend on how the text was divided into pieces. :class:`CompletionText` chains them.

This module must not know torch, ids or files.
"""

import codecs
from collections.abc import Sequence
from typing import Literal

from codeling.generation.text.blocks import BlockEnd
from codeling.generation.text.lines import LogicalLine
from codeling.generation.text.scripts import ScriptEnd

FinishReason = Literal["stop", "length", "block", "end_of_text", "unlikely"]
"""Reason that a completion ended. ``stop``: a stop string. ``length``: ``max_new_tokens``, or an
infilling that filled the context. ``block``: the end of the block or script. ``end_of_text``: the
model predicted ``<|endoftext|>``. ``unlikely``: the probability fell below
``min_probability``."""


class Utf8Decoder:
    """Incremental UTF-8 decoder. An incomplete character at the end is held back."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """Return the characters that ``data`` completes; invalid bytes become U+FFFD."""
        return self._decoder.decode(data)


class StopStringFilter:
    """Passes text through up to the first completed stop string, which is removed.

    If two are completed by the same character, the longer one counts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Empty stop strings are ignored."""
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False
        self.matched = ""
        """The stop string that was found."""

    def feed(self, text: str) -> str:
        """Add ``text``; return the text that is now certain, empty once :attr:`found`."""
        if self.found:
            return ""
        text = self._held + text
        hits = [
            (start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0
        ]
        if hits:
            self.found, self._held = True, ""
            end, start = min(hits)
            self.matched = text[start:end]
            return text[:start]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return text held back for a stop string that was not completed."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of ``text`` that is a proper prefix of ``stop``."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


class CompletionText:
    """Text of one completion, from the bytes of its tokens."""

    def __init__(
        self,
        prompt: str,
        stops: Sequence[str] = (),
        at_block_end: bool = False,
        script_ends: Sequence[str] = (),
    ) -> None:
        """``prompt`` determines the block. If its end is inside no definition and ``script_ends``
        are given, those end the completion instead."""
        self._characters = Utf8Decoder()
        self._line = LogicalLine()
        self._unread = [prompt]
        """Text not yet read by ``_line``, which is updated on demand."""
        self._stops = StopStringFilter(stops)
        self._block: BlockEnd | ScriptEnd | None = None
        if at_block_end:
            block = BlockEnd(prompt)
            is_script = script_ends and not block.in_definition
            self._block = ScriptEnd(prompt, script_ends) if is_script else block
        self._returned: list[str] = []
        self.finish_reason: FinishReason | None = None

    @property
    def in_prose(self) -> bool:
        """Whether the text ends within a comment or a triple-quoted string."""
        return self._read_line().in_prose

    @property
    def is_open(self) -> bool:
        """Whether the text ends within a string or brackets."""
        return self._read_line().is_open

    def _read_line(self) -> LogicalLine:
        for text in self._unread:
            self._line.read(text)
        self._unread.clear()
        return self._line

    @property
    def stop_string(self) -> str:
        """The stop string that ended the completion; empty if none did."""
        return self._stops.matched

    @property
    def text(self) -> str:
        """All text that was returned."""
        return "".join(self._returned)

    def feed(self, data: bytes) -> str:
        """Add the bytes of one token; return the text that is now certain."""
        text = self._characters.feed(data)
        self._unread.append(text)
        return self._filter(self._stops.feed(text))

    def finish(self, reason: FinishReason) -> str:
        """End the completion for a ``reason`` outside the text; return the text held back.

        An incomplete character at the end is dropped.
        """
        shown = self._filter(self._stops.finish())
        if isinstance(self._block, ScriptEnd) and not self._block.ended:
            held = self._block.finish()
            self._returned.append(held)
            shown += held
        if self.finish_reason is None:
            self.finish_reason = reason
        return shown

    def _filter(self, text: str) -> str:
        if self._block is not None:
            text = self._block.feed(text)
        if self._block is not None and self._block.ended:
            self.finish_reason = "block"
        elif self._stops.found:
            self.finish_reason = "stop"
        if text:
            self._returned.append(text)
        return text
