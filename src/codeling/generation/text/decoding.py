"""From the bytes of sampled tokens to the text that may be shown: where it stops, and when.

Small machines, each fed piece by piece, each returning what is certain so far:
:class:`Utf8Decoder` (a character may straddle tokens), :class:`StopStringFilter` (so may a stop
string), :class:`~codeling.generation.text.blocks.BlockEnd` and
:class:`~codeling.generation.text.scripts.ScriptEnd`. What they give in all does not depend on how
the
text was cut into pieces. :class:`CompletionText` chains them.

This module must not know torch, ids or files.
"""

import codecs
from collections.abc import Sequence
from typing import Literal

from codeling.generation.text.blocks import BlockEnd
from codeling.generation.text.lines import LogicalLine
from codeling.generation.text.scripts import ScriptEnd

FinishReason = Literal["stop", "length", "block", "end_of_text"]
"""Why a completion ended: a stop string, ``max_new_tokens`` (or an infilling that has filled
the context), the end of the block or script, or the model's own ``<|endoftext|>``."""


class Utf8Decoder:
    """UTF-8 that arrives in pieces. An unfinished character at the end waits for its rest."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        """The characters that ``data`` finishes; bytes that cannot be UTF-8 become U+FFFD."""
        return self._decoder.decode(data)


class StopStringFilter:
    """Text up to the first stop string to be complete, and nothing of that string.

    Where two are complete at the same character, the longer one counts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Empty stop strings are left out."""
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """What may be shown after ``text``; nothing once :attr:`found`."""
        if self.found:
            return ""
        text = self._held + text
        hits = [
            (start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0
        ]
        if hits:
            self.found, self._held = True, ""
            return text[: min(hits)[1]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back for a stop string that never came."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that ``stop`` begins with, ``stop`` itself aside."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0


class CompletionText:
    """What one completion shows: bytes of tokens in, text out, until something ends it."""

    def __init__(
        self,
        prompt: str,
        stops: Sequence[str] = (),
        at_block_end: bool = False,
        script_ends: Sequence[str] = (),
    ) -> None:
        """``prompt`` matters only to where its block ends; where it stands in no definition and
        there are ``script_ends``, one of those ends the completion instead."""
        self._characters = Utf8Decoder()
        self._line = LogicalLine()
        self._unread = [prompt]
        """What the line has not read yet: it is read where somebody asks what is open."""
        self._stops = StopStringFilter(stops)
        self._block: BlockEnd | ScriptEnd | None = None
        if at_block_end:
            block = BlockEnd(prompt)
            is_script = script_ends and not block.in_definition
            self._block = ScriptEnd(prompt, script_ends) if is_script else block
        self._shown: list[str] = []
        self.finish_reason: FinishReason | None = None

    @property
    def in_prose(self) -> bool:
        """Whether what was fed last stands within a comment or a triple-quoted string."""
        return self._read_line().in_prose

    @property
    def is_open(self) -> bool:
        """Whether what was fed last stands within a string or brackets."""
        return self._read_line().is_open

    def _read_line(self) -> LogicalLine:
        for text in self._unread:
            self._line.read(text)
        self._unread.clear()
        return self._line

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self._shown)

    def feed(self, data: bytes) -> str:
        """The text that may be shown after the bytes of one more token."""
        text = self._characters.feed(data)
        self._unread.append(text)
        return self._show(self._stops.feed(text))

    def finish(self, reason: FinishReason) -> str:
        """The text held back, now that nothing more comes, for a ``reason`` outside the text.

        An unfinished character at the very end is left out.
        """
        shown = self._show(self._stops.finish())
        if isinstance(self._block, ScriptEnd) and not self._block.ended:
            held = self._block.finish()
            self._shown.append(held)
            shown += held
        if self.finish_reason is None:
            self.finish_reason = reason
        return shown

    def _show(self, text: str) -> str:
        if self._block is not None:
            text = self._block.feed(text)
        if self._block is not None and self._block.ended:
            self.finish_reason = "block"
        elif self._stops.found:
            self.finish_reason = "stop"
        if text:
            self._shown.append(text)
        return text
