"""Ids of a text that shares most of its lines with earlier ones, such as a file while it is typed.

The pre-tokenizers of this package never join a printable ASCII character with the line end after
it. So a text is cut there, the pieces are looked up, and only new ones are encoded. All lines but
the first and the last are looked up as one text, which does not change while a person types within
a line. This module must not know models or files.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache

import tokenizers

from codeling.tokenizer.pretokenizer import PYTHON_EXPRESSION, pre_tokenizer_of

_NUM_PIECES = 1 << 15
"""Pieces that are kept: those of about thirty thousand lines."""
_NUM_TEXTS, _MAX_TEXT = 256, 1 << 15
"""Number of texts of whole lines that are kept (two for each of 128 people), and their maximum
length in characters."""
_LINE_END = re.compile(r"[\r\n](?<=[!-~].)", re.DOTALL)
"""A line end after a printable ASCII character. The line end comes first: it is found faster."""


class LineCache:
    """Encodes texts piece by piece; any thread may use it."""

    def __init__(self, encode: Callable[[str], list[int]]) -> None:
        """``encode`` must give the same ids for pieces as for their whole (:func:`is_cut`)."""

        @lru_cache(_NUM_PIECES)
        def of_piece(piece: str) -> tuple[int, ...]:
            return tuple(encode(piece))

        def of_lines(text: str) -> tuple[int, ...]:
            ids: list[int] = []
            begin = 0
            for match in _LINE_END.finditer(text):
                ids += of_piece(text[begin : match.start()])
                begin = match.start()
            return (*ids, *of_piece(text[begin:]))

        self._of_piece = of_piece
        self._of_lines = of_lines
        self._of_text = lru_cache(_NUM_TEXTS)(of_lines)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``."""
        first = _LINE_END.search(text)
        if first is None:
            return [*self._of_piece(text)]
        begin, end = first.start(), _last_line_end(text)
        of_lines = self._of_text if end - begin <= _MAX_TEXT else self._of_lines
        lines = of_lines(text[begin:end]) if begin < end else ()
        return [*self._of_piece(text[:begin]), *lines, *self._of_piece(text[end:])]


def _last_line_end(text: str) -> int:
    """Index of the last line end after a printable ASCII character; there is one."""
    end = len(text)
    while True:
        end = max(text.rfind("\n", 0, end), text.rfind("\r", 0, end))
        if "!" <= text[end - 1] <= "~":
            return end


def is_cut(core: tokenizers.Tokenizer) -> bool:
    """Whether a tokenizer cuts between a printable ASCII character and a line end after it."""
    rules = json.loads(core.to_str())
    step = rules["pre_tokenizer"] or {}
    is_gpt2 = step.get("type") == "ByteLevel" and step["use_regex"] and not step["add_prefix_space"]
    ours = tokenizers.Tokenizer(tokenizers.models.BPE())
    ours.pre_tokenizer = pre_tokenizer_of(PYTHON_EXPRESSION)
    is_python = step == json.loads(ours.to_str())["pre_tokenizer"]
    return rules["normalizer"] is None and (is_gpt2 or is_python)
