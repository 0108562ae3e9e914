"""Every error that codeling raises on purpose, grouped by cause.

The command line prints each of these as one line without a traceback. Any other exception is a
bug. This module imports nothing from the package.

::

    CodelingError                 exit code 1
    ├── UsageError                exit code 2: the command or the recipe has to change
    │   └── RecipeError           the recipe has an unknown key or an invalid value
    ├── InputError                an input file is damaged or has the wrong format
    │   ├── CorpusError           no Python found, a column is missing, a file is unreadable
    │   ├── TokenizerError        a tokenizer file is damaged or belongs to another model
    │   └── ModelError            a model folder is damaged or inconsistent
    ├── StorageError              the disk is full, a folder cannot be written
    ├── BusyError                 another process uses the same run folder
    ├── SandboxError              no sandbox is available here; says what to install
    ├── TrainingError             the loss is not finite, a state cannot be resumed
    └── StoppedError              exit code 130: Ctrl-C or SIGTERM; the state is saved
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CodelingError(Exception):
    """Base of every error raised on purpose; the message is one line for the user."""

    exit_code = 1


class UsageError(CodelingError, ValueError):
    """The command or its arguments have to change."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe has an unknown key or an invalid value, or is not TOML."""


class InputError(CodelingError, ValueError):
    """An input file is damaged or has the wrong format."""


class CorpusError(InputError):
    """A corpus source cannot be used."""


class TokenizerError(InputError):
    """A tokenizer file is damaged, or does not belong to the model beside it."""


class ModelError(InputError):
    """A model folder is damaged, or its files contradict each other."""


class StorageError(CodelingError, OSError):
    """A file could not be written."""


class BusyError(CodelingError):
    """Another process uses the same run folder."""


class SandboxError(CodelingError):
    """This machine has no sandbox, so generated code is not run."""


class TrainingError(CodelingError):
    """Training cannot continue."""


class StoppedError(CodelingError):
    """The user stopped the command; the finished work is saved."""

    exit_code = 130


_STORAGE_REASONS = {
    errno.ENOSPC: "no space left on the disk; free some, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EACCES: "no permission to write there; choose another folder with --out",
    errno.EPERM: "no permission to write there; choose another folder with --out",
    errno.EIO: "input/output error; the disk may be failing",
    errno.ENAMETOOLONG: "the name is too long; choose another folder with --out",
    errno.EFBIG: "the file would be larger than this system or its limits (ulimit -f) allow",
    errno.EROFS: "the file system is read-only; choose another folder with --out",
    errno.ENOTDIR: "a file exists where a folder is needed; choose another folder with --out",
    errno.ELOOP: "its symbolic links form a loop; choose another folder with --out",
    errno.EEXIST: "a file exists where a folder is needed; choose another folder with --out",
}


def first_line_of(error: Exception) -> str:
    """The first line of another library's message; the name of its type if there is no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write under ``path`` into a :class:`StorageError`.

    Libraries written in Rust report a full disk in the text of their own exceptions, so the text
    is searched as well.

    :raises StorageError: for a full disk, a missing permission, a read-only file system.
        Any other error passes through unchanged.
    """
    try:
        yield
    except CodelingError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and "No space left on device" in str(error):
            number = errno.ENOSPC
        reason = _STORAGE_REASONS.get(number or 0)
        if reason is None:
            raise
        place = Path(getattr(error, "filename", None) or path)
        if number in (errno.ENOTDIR, errno.EEXIST):
            place = next((each for each in (*place.parents[::-1], place) if each.is_file()), place)
        raise StorageError(f"{place}: {reason}") from error
