"""The usage line of a command's help: ``RECIPE`` for a required argument, ``[FILE]`` for another.

typer writes ``{RECIPE}`` and ``[[FILE]]`` in some versions.
"""

import re
from typing import Any

from typer.core import TyperCommand

_BRACES = re.compile(r"[{}]")
_REPEATED = re.compile(r"(\[|\]|\.\.\.)\1+")


class Command(TyperCommand):
    """A command with a plain usage line."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words after the command's name in the usage line."""
        pieces = super().collect_usage_pieces(ctx)
        return [_REPEATED.sub(r"\1", _BRACES.sub("", piece)) for piece in pieces]


class DefaultCommand(Command):
    """The command that its group runs when no command is named; its usage line omits its name."""

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the usage line under the name of the group."""
        formatter.write_usage(ctx.parent.command_path, " ".join(self.collect_usage_pieces(ctx)))
