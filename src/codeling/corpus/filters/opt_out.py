"""Opt-out list: repositories and file contents that are excluded from the corpus.

The list is a text file with one entry per line. An entry is a repository (``owner/name``; case and
a version after ``==`` are ignored) or the hexadecimal SHA-256 of a file's content. ``#`` starts a
comment. This module must not know where documents come from.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from codeling.errors import UsageError

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class OptOut:
    """The entries of an opt-out list."""

    repositories: frozenset[str] = frozenset()
    """Repository names in lower case."""
    hashes: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path | None) -> "OptOut":
        """Read a list from a text file; None gives an empty list.

        :raises UsageError: when the file cannot be read.
        """
        if path is None:
            return cls()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UsageError(f"[corpus] opt_out {path}: cannot be read ({reason})") from error
        lines = (line.partition("#")[0].strip().lower() for line in text.splitlines())
        entries = {line for line in lines if line}
        hashes = frozenset(entry for entry in entries if _HASH.fullmatch(entry))
        return cls(frozenset(entries - hashes), hashes)

    def save(self, path: Path) -> None:
        """Write the list as JSON for :meth:`load`."""
        values = {"repositories": sorted(self.repositories), "hashes": sorted(self.hashes)}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "OptOut":
        """Read a list that :meth:`save` wrote."""
        values = json.loads(path.read_bytes())
        return cls(frozenset(values["repositories"]), frozenset(values["hashes"]))

    def excludes_repository(self, repository: str) -> bool:
        """Whether a repository is on the list."""
        if not self.repositories:
            return False
        name = repository.lower()
        return name in self.repositories or name.partition("==")[0] in self.repositories

    def excludes_content(self, data: bytes | str, text: str) -> bool:
        """Whether the list has the hash of the original bytes or of the text in UTF-8."""
        found = data if isinstance(data, bytes) else data.encode()
        return any(
            hashlib.sha256(each).hexdigest() in self.hashes for each in {found, text.encode()}
        )
