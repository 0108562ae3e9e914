"""Bytes of a Python file to its text, as Python itself decodes it.

Source: PEP 263. This module imports nothing of the package.
"""

import io
import tokenize


class UndecodableError(ValueError):
    """Bytes that are not Python text. Its argument is the reason in one word."""


def decode(data: bytes) -> str:
    """Text of a source file.

    The encoding is that of the byte order mark or the PEP 263 declaration, else UTF-8. The mark
    is removed and every line end becomes ``\\n``.

    :raises UndecodableError: ``nul_bytes`` (also UTF-16), or ``wrong_encoding`` (the declared
        encoding is unknown, or the bytes are not valid in it).
    """
    if b"\0" in data:
        raise UndecodableError("nul_bytes")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding).removeprefix("\ufeff")
        text.encode()
    except (SyntaxError, LookupError, ValueError) as error:
        raise UndecodableError("wrong_encoding") from error
    if "\0" in text:
        raise UndecodableError("nul_bytes")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text
