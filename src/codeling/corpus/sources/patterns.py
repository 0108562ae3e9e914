"""Patterns of paths: ``**/`` is any folders or none, ``**`` anything, ``*`` and ``?`` one name."""

import re


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile ``pattern`` for :meth:`re.Pattern.fullmatch` on POSIX paths."""
    translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(translated.get(piece, re.escape(piece)) for piece in pieces))
