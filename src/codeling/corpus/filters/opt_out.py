"""Who does not want to be trained on: repositories and contents that are left out wholly.

The list is a text file, one entry a line: a repository (``owner/name``; case does not matter, and
a version after ``==`` is left out of the comparison) or the SHA-256 of a file's content in
hexadecimal. ``#`` begins a remark. This module must not know where documents come from.
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
    """The list, read."""

    repositories: frozenset[str] = frozenset()
    """In lower case."""
    hashes: frozenset[str] = frozenset()

    @classmethod
    def read(cls, path: Path | None) -> "OptOut":
        """The list of a text file; an empty one for None.

        :raises UsageError: the file cannot be read.
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
        """Write it for :meth:`load`."""
        values = {"repositories": sorted(self.repositories), "hashes": sorted(self.hashes)}
        path.write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "OptOut":
        """What :meth:`save` wrote."""
        values = json.loads(path.read_bytes())
        return cls(frozenset(values["repositories"]), frozenset(values["hashes"]))

    def names(self, repository: str) -> bool:
        """Whether a repository is on the list."""
        if not self.repositories:
            return False
        name = repository.lower()
        return name in self.repositories or name.partition("==")[0] in self.repositories

    def holds(self, data: bytes | str, text: str) -> bool:
        """Whether a content is on the list: its bytes as found, or its text in UTF-8."""
        found = data if isinstance(data, bytes) else data.encode()
        return any(
            hashlib.sha256(each).hexdigest() in self.hashes for each in {found, text.encode()}
        )
