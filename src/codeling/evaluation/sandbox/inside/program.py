"""The program's process: runs what a model wrote, and answers what the check asks of it.

Nothing in this process is trusted once the program has begun; it holds neither the check nor
the nonce, and its end of the socket carries plain values. It must not import the check's side.
"""

import builtins
import errno
import gc
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from codeling.evaluation.sandbox.inside.rpc import Gone, Link, Refused

NAME = "program"
NO_MEMORY_LEFT = errno.ENOMEM
"""Exit code: not even the :class:`MemoryError` could be told of."""


class Callback:
    """Stands for a function of the check's."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it, there."""
        return self._link.ask("call", self, arguments, named)


def _theirs(value: Any) -> int | None:
    return value._number if type(value) is Callback else None


def operations(names: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """What the check may ask for: the program's names, and what Python does with objects."""

    def run(source: str) -> None:
        exec(compile(source, "<program>", "exec", dont_inherit=True), names)  # noqa: S102

    def name(wanted: str) -> Any:
        if wanted not in names:
            raise NameError(f"name {wanted!r} is not defined")
        return names[wanted]

    return {
        "run": run,
        "name": name,
        "module": lambda value: value.__name__ if type(value) is types.ModuleType else None,
        "call": lambda target, arguments, named: target(*arguments, **named),
        "getattr": getattr,
        "setattr": setattr,
        "getitem": lambda target, key: target[key],
        "setitem": lambda target, key, value: target.__setitem__(key, value),
        "iter": iter,
        "next": lambda target: (
            (True, following) if (following := next(target, names)) is not names else (False, None)
        ),
        "len": len,
        "bool": bool,
        "str": str,
        "repr": repr,
        "dir": dir,
    }


def serve(fd: int, limit: int) -> None:
    """Answer questions on ``fd`` until the check has ended. Does not return."""
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module
    module.__dict__["__builtins__"] = builtins
    link = Link(fd, limit, operations(module.__dict__), Callback, _theirs, lambda value: True)
    gc.enable()
    try:
        link.serve_forever()
    except (Gone, Refused, OSError):
        pass
    except MemoryError:  # the error's frames still hold all that the program has filled
        os._exit(NO_MEMORY_LEFT)
    finally:
        os._exit(0)
