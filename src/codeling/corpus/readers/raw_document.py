"""One document as a source gives it, before filters."""

from dataclasses import dataclass

from codeling.corpus.extract import Function
from codeling.corpus.sources.licenses import UNKNOWN


@dataclass(slots=True)
class RawDocument:
    """A file, a row of a table, or a placeholder for what could not be read.

    ``reason`` is set where it cannot be used; ``detail`` says what is wrong with the input.
    """

    row: int | None
    """Index in its shard; None for a file, and for a placeholder of a whole shard."""
    repository: str = ""
    path: str = ""
    license: str = UNKNOWN
    url: str = ""
    data: bytes | str | None = None
    """Bytes of a file, or text of a row."""
    num_bytes: int = 0
    """Size on disk of a file; size of a row's text."""
    copies: int = 1
    """Number of equal documents that it represents, as published."""
    split: str | None = None
    """``train``, ``validation`` or ``test`` where its source gives it one."""
    mentions_keyword: bool | None = None
    """Whether the text of a row holds one of the recipe's words; None: not searched here."""
    function: Function | None = None
    """Set where the document is a function rather than a file."""
    reason: str | None = None
    """Drop reason."""
    detail: str | None = None
    """What is wrong with the input, for the report."""


def clean_text(document: RawDocument, text: str) -> str | None:
    """Normalise line ends and remove the byte order mark of a row's text.

    Same result as :func:`codeling.source_text.decode` for a file. Returns None and sets
    ``document.reason`` where the text cannot be used. Sets ``num_bytes`` to the size in UTF-8.
    """
    if "\0" in text:
        document.reason = "nul_bytes"
        return None
    if not text.isascii():
        try:
            document.num_bytes = len(text.encode())
        except UnicodeEncodeError:
            document.reason = "wrong_encoding"
            return None
        text = text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text
