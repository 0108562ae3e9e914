"""Extras: packages that only some commands need."""

from importlib.util import find_spec

from codeling.errors import UsageError


def require(extra: str, *modules: str) -> None:
    """:raises UsageError: one of ``modules`` is missing; names the extra that has it."""
    missing = next((name for name in modules if find_spec(name) is None), None)
    if missing is not None:
        raise UsageError(f"{missing} is not installed; pip install 'codeling[{extra}]'")
