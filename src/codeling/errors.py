"""Every error that codeling raises on purpose, sorted by whose fault it is.

The command line prints one line for each of these and no traceback; anything else that
escapes is a bug of ours. This module imports nothing of the package.

::

    CodelingError                 exit code 1
    ├── UsageError                exit code 2: the command or the recipe has to change
    │   └── RecipeError           a recipe does not say what it must
    ├── InputError                what was given to read is not what it should be
    │   ├── CorpusError           no Python in it, a column missing, not readable
    │   ├── TokenizerError        a tokenizer file that is broken or belongs elsewhere
    │   └── ModelError            a model folder that is broken or lies about itself
    ├── StorageError              the disk is full, a folder cannot be written
    ├── BusyError                 another process works in the same run folder
    ├── SandboxError              nothing can be run safely here; what to install
    └── TrainingError             the loss left the numbers, the state cannot be gone on from
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class CodelingError(Exception):
    """Base of every error raised on purpose; its text is one line for the user."""

    exit_code = 1


class UsageError(CodelingError, ValueError):
    """The command or its arguments have to change."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe has an unknown key, a value out of range, or is no TOML at all."""


class InputError(CodelingError, ValueError):
    """What was given to read is not what it should be."""


class CorpusError(InputError):
    """A corpus source cannot be used."""


class TokenizerError(InputError):
    """A tokenizer file is broken, or does not belong to the model beside it."""


class ModelError(InputError):
    """A model folder is broken, or its files contradict each other."""


class StorageError(CodelingError, OSError):
    """Something could not be written."""


class BusyError(CodelingError):
    """Another process works in the same run folder."""


class SandboxError(CodelingError):
    """Generated code cannot be run safely on this machine, so it is not run."""


class TrainingError(CodelingError):
    """Training cannot go on."""


_STORAGE_REASONS = {
    errno.ENOSPC: "no space left on the disk; free some, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EACCES: "no permission to write there; choose another folder with --out",
    errno.EPERM: "no permission to write there; choose another folder with --out",
    errno.EIO: "input/output error; the disk may be failing",
    errno.ENAMETOOLONG: "the name is too long; choose another folder with --out",
    errno.EFBIG: "the file would be larger than this system or its limits (ulimit -f) allow",
    errno.EROFS: "the file system is read-only; choose another folder with --out",
    errno.ENOTDIR: "a file stands where a folder is needed; choose another folder with --out",
    errno.EEXIST: "a file stands where a folder is needed; choose another folder with --out",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write under ``path`` into a :class:`StorageError`.

    Libraries written in Rust report a full disk as an error of their own that names it in
    its text alone, so the text is looked at too.

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
        place = getattr(error, "filename", None) or path
        raise StorageError(f"{place}: {reason}") from error
