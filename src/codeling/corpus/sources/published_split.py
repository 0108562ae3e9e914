"""The split that a published table says a row is in: by a value of its column, or its file's name.

The Hub reads splits from names in the same way: a word between other characters than letters and
digits, in the name of the file or of a folder above it, the nearest first.
Source: huggingface/datasets, ``data_files.py`` (``SPLIT_KEYWORDS``, ``NON_WORDS_CHARS``).
"""

import re
from collections.abc import Mapping

SPLIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "dev", "val"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""Word → ``train``, ``validation`` or ``test``."""


def split_in_name(name: str) -> str | None:
    """Return the split that a path names, or None.

    >>> split_in_name("python/train-00000-of-00001.parquet")
    'train'
    >>> split_in_name("codeparrot-ds-valid/ds.json.gz")
    'validation'
    """
    for part in reversed(name.split("/")):
        words = re.split(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[0-9])", part.lower())
        found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
        if len(found) == 1:
            return found.pop()
    return None
