"""Writes a command to run next, quoted for the shell."""

import shlex
from collections.abc import Mapping, Sequence

Option = str | int | float | Sequence[str] | None
"""Value of an option: True for a flag; None, False or an empty list to leave it out."""


def next_command(
    command: str, *arguments: object, options: Mapping[str, Option] | None = None
) -> str:
    """``codeling COMMAND ARGUMENTS OPTIONS`` as one line for a POSIX shell."""
    words = ["codeling", command, *map(str, arguments)]
    for name, value in (options or {}).items():
        if value is True:
            words.append(name)
        elif isinstance(value, str | int | float) and value is not False:
            words += [name, str(value)]
        elif value:
            words += [word for each in value for word in (name, each)]
    return shlex.join(words)


def pipe(*commands: str) -> str:
    """Join commands so that each reads the output of the one before."""
    return " | ".join(commands)
