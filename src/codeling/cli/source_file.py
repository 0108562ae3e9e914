"""The FILE argument of ``complete`` and ``trace``: Python text from a file or standard input."""


def read_source(file: str, replace_undecodable: bool = False) -> tuple[str, str]:
    """Name and text of a file, or of standard input for ``-``, decoded as Python decodes it.

    With ``replace_undecodable``, a file that is not valid in its encoding is read as UTF-8 and
    each invalid byte becomes U+FFFD, except that a file with NUL bytes is never text.

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
        if replace_undecodable and b"\0" not in data:
            return name, data.decode("utf-8", errors="replace")
        reason = (
            "it contains NUL bytes"
            if b"\0" in data
            else "its bytes are not in the declared encoding, or in UTF-8 if none is declared"
        )
        raise InputError(f"{name}: not Python text: {reason}") from error
