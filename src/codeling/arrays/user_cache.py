"""The folder of a user for files that can be made again."""

import os
import sys
from pathlib import Path


def user_cache_folder(name: str) -> Path:
    """``codeling/NAME`` in the user's cache folder, or ``NAME`` in ``$CODELING_CACHE``."""
    if chosen := os.environ.get("CODELING_CACHE"):
        return Path(chosen) / name
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "codeling" / name
