"""Functions compiled by numba, whose cached machine code is compiled again when a source changes.

numba's cache looks at the file of a function alone. A function that calls one of another file would
keep the old machine code of both. This module must not know what is computed.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Compiler(Protocol):
    """A decorator."""

    def __call__(self, function: _Function, fastmath: Any = False) -> _Function:
        """Compile ``function`` at its first call. ``fastmath`` is numba's."""


def compiler(*sources: str) -> Compiler:
    """A decorator for functions that are made of the files ``sources``.

    Compiled functions run without Python's lock, and their machine code is kept on disk.
    """
    digest = hashlib.sha256(b"".join(Path(source).read_bytes() for source in sources))
    version = digest.hexdigest()[:16]

    def compiled(function: _Function, fastmath: Any = False) -> _Function:
        function.__qualname__ += f"_{version}"  # part of the key of numba's cache
        decorate = njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)
        return decorate(function)  # type: ignore[no-any-return]

    return compiled
