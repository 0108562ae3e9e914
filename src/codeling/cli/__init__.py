"""The command line. :func:`main` handles signals and errors; ``app`` holds the commands.

This module imports nothing slow, so that Ctrl-C is handled from the first moment on.
Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.
"""

import atexit
import gc
import io
import sys
from collections.abc import Callable
from typing import Any

from codeling.cli import signals
from codeling.errors import CodelingError

_OUT_OF_MEMORY = (
    "the accelerator is out of memory; lower training.micro_batch_size (--set), or --batch-size "
    "of evaluate, or use --device cpu"
)


def main() -> None:
    """Run the command line. An error raised on purpose becomes one line and an exit code."""
    atexit.register(gc.freeze)  # else the last collection takes 0.2 s once torch is imported
    message, code = _run()
    if message:
        sys.stderr.write(f"codeling: {' '.join(message.split())}\n")
    sys.exit(code)


def _run() -> tuple[str, int]:
    """Return the error message, or an empty string, and the exit code."""
    try:
        signals.HANDLER.install()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # for terminals without UTF-8
        result = _call()
    except signals.Interrupted:
        return signals.HANDLER.message, signals.EXIT_CODE
    except Exception as error:
        if signals.HANDLER.interrupted:
            return signals.HANDLER.message, signals.EXIT_CODE
        if isinstance(error, CodelingError):
            return str(error), error.exit_code
        if type(error).__name__ == "OutOfMemoryError":  # torch's; torch may not be imported
            return _OUT_OF_MEMORY, 1
        message: Callable[[], str] | None = getattr(error, "format_message", None)
        if message is None:
            raise
        context: Any = getattr(error, "ctx", None)  # an error of typer
        command = context.command_path if context else "codeling"
        text = message().rstrip(".").replace(": Value error, ", ": ")  # pydantic's prefix
        mark = "" if text.endswith("?") else ";"
        return f"{text}{mark} see {command} --help", 2
    finally:
        signals.HANDLER.ignore()
    return "", result if isinstance(result, int) else 0


def _call() -> object:
    from codeling.cli.app import app

    return app(standalone_mode=False)
