"""Find the parts of a run folder from a path that a user gives.

The path is the run folder, its ``model`` folder, a checkpoint, or anything else in a folder of the
run. Commands, suites, a server and editors look up all parts of a run here. This module must not
read what the files contain.
"""

from dataclasses import dataclass
from pathlib import Path

from codeling import hub

ADAPTATION = "adaptation.json"
"""Result file of an adaptation to a project."""

_MARKERS = ("recipe.toml", "provenance", ADAPTATION)
"""A folder with one of these is a run folder. The second one marks a model and its index that were
copied without the rest of the run."""
_STAGE_FOLDERS = (
    *("model", "checkpoints", "corpus", "tokenizer", "tokens", "provenance", "memory"),
    "evaluation",
)


@dataclass(frozen=True)
class RunFolder:
    """Paths of the parts of a run. A part may be missing."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def corpus(self) -> Path:
        """Folder of the Parquet tables."""
        return self.path / "corpus"

    @property
    def tokenizer(self) -> Path:
        """Folder of ``tokenizer.json``."""
        return self.path / "tokenizer"

    @property
    def model(self) -> Path:
        """The Hugging Face folder."""
        return self.path / "model"

    @property
    def memory(self) -> Path:
        """Folder of the memory of the corpus."""
        return self.path / "memory"

    @property
    def provenance(self) -> Path:
        """Folder of the provenance index."""
        return self.path / "provenance"


def find_run_folder(path: str | Path) -> RunFolder | None:
    """The run folder that ``path`` is or belongs to.

    A folder above ``path`` counts only if ``path`` lies in one of the folders that a run writes,
    so a model in an unrelated folder does not count. None also for an ``hf://`` address and for a
    path that does not exist or cannot be read.
    """
    if str(path).startswith(hub.SCHEME):
        return None
    try:
        given = Path(path).expanduser()
        if given.exists():
            return _climb(given) or _climb(given.resolve())
    except (OSError, RuntimeError):  # a name that is too long, an unknown ~user
        pass
    return None


def _climb(path: Path) -> RunFolder | None:
    """The run folder that is ``path`` or contains it, by the names in ``path`` alone."""
    is_inside = True
    for folder in (path, *path.parents):
        if is_inside and any((folder / marker).exists() for marker in _MARKERS):
            return RunFolder(folder)
        is_inside = folder.name in _STAGE_FOLDERS
    return None
