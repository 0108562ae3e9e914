"""``codeling course``: six lessons as notebooks, in a folder of the user's own."""

from pathlib import Path
from typing import Annotated

import typer

from codeling.cli.stages import AsJson, parse_path


def course(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="[FOLDER]", help="Folder for your copy of the notebooks.", parser=parse_path
        ),
    ] = Path("course"),
    as_json: AsJson = False,
) -> None:
    """Open the course: six lessons from text to a fine-tuned model, as notebooks.

    They are copied into a folder first. Files that exist are not overwritten, so your changes are
    kept. JupyterLab then opens on it, on this machine alone; with --json it does not.

    Example:  codeling course
    """
    import json

    from codeling.cli.extras import require

    if not as_json:
        require("course", "jupyterlab")
    copied = _copy_notebooks(folder)
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "notebooks": copied}))
        return
    typer.echo(f"the lessons are in {folder}; begin with {copied[0]}")
    open_notebook(folder, copied[0])


def open_notebook(folder: Path, name: str) -> None:
    """Become JupyterLab, which opens the notebook ``name`` of ``folder``."""
    import os
    import sys

    sys.stdout.flush()
    # The lessons call `codeling`: the one beside this interpreter.
    scripts = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    os.chdir(folder)
    # Jupyter refuses to run as root, which is the usual user of a container.
    as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *as_root, name])  # noqa: S606


def _copy_notebooks(folder: Path) -> list[str]:
    """Copy the notebooks that are not in ``folder`` yet; return the names of all of them.

    :raises StorageError: the folder cannot be written.
    """
    import shutil

    from codeling.errors import storage_errors

    packaged = Path(__file__).with_name("notebooks")  # in an installed package
    source = packaged if packaged.is_dir() else Path(__file__).parents[3] / "docs/course/notebooks"
    names = sorted(path.name for path in source.glob("*.ipynb"))
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            if not (folder / name).exists():
                shutil.copy(source / name, folder / name)
    return names
