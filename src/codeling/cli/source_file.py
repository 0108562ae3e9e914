"""The FILE argument of ``complete`` and ``trace``: Python text from a file or standard input."""


def read_source(file: str) -> tuple[str, str]:
    """Name and text of a file, or of standard input for ``-``, decoded as Python decodes it.

    :raises UsageError: there is no such file.
    :raises InputError: the file cannot be read, or is not text in the encoding it declares.
    """
    import sys
    from pathlib import Path

    from codeling.errors import InputError, UsageError
    from codeling.source_text import UndecodableError, decode

    name = "standard input" if file == "-" else file
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror})") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from error
    try:
        return name, decode(data)
    except UndecodableError as error:
        raise InputError(f"{name}: not Python text: {_reason(data, error)}") from error


def _reason(data: bytes, error: Exception) -> str:
    """Why ``data`` cannot be decoded, and what to do."""
    if b"\0" in data:
        return "it contains NUL bytes"
    try:
        data.decode()
    except UnicodeDecodeError as invalid:
        line = data.count(b"\n", 0, invalid.start) + 1
        where = f"line {line:,} (byte {invalid.start:,}) is not UTF-8"
    else:
        where = f"the encoding that it declares does not fit ({error.__cause__})"
    return f"{where}; save it as UTF-8, or declare its encoding (# coding: latin-1)"
