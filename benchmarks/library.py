"""Python that is on every machine: the running interpreter's standard library, no tests."""

import sysconfig
from pathlib import Path


def read_library() -> list[str]:
    """The texts of its files, in the order of their paths."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    return [
        file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(folder.rglob("*.py"))
        if not {"site-packages", "test", "tests"} & set(file.parts)
    ]
