"""``codeling trace``: find the passages of a text in the training data."""

from pathlib import Path
from typing import Annotated

import typer

from codeling.cli.stages import AsJson


def trace(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Run folder with a provenance index.")
    ],
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Text file; - for standard input.")
    ] = "-",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of matches.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find the training files that a text shares passages with.

    A passage is found if it is about three lines or longer.

    Example:  codeling trace runs/demo my_file.py
    """
    import json
    import sys
    from dataclasses import asdict

    from codeling.cli.source_file import read_source
    from codeling.provenance.index import Index

    index = Index.load(_provenance_folder(model))
    name, text = read_source(file, replace_undecodable=True)
    matches = index.trace(text, limit=limit)
    if as_json:
        answer = {"text": name, "matches": [asdict(match) for match in matches]}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from codeling.provenance.winnowing import GUARANTEE

    console = Console(highlight=False)
    if not matches:
        console.print(
            f"No passage of {GUARANTEE} or more tokens of this text is in the training data."
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("lines", "share", "place in the training data", "license"):
        table.add_column(column, overflow="fold", justify="right" if column == "share" else "left")
    for match in matches:
        where = Text(f"{match.repository}: {match.path}:{match.start_line}-{match.end_line}")
        if match.max_occurrences > 1:
            where.append(f"\none of {match.max_occurrences} places", style="dim")
        if match.url:
            where.append(f"\n{match.url}", style="dim")
        lines = f"{match.text_start_line}-{match.text_end_line}"
        share = f"{100 * match.share:.0f} %"
        table.add_row(lines, share, where, Text(match.license or "unknown"))
    console.print(table)


def _provenance_folder(model: Path) -> Path:
    """The folder of the provenance index of a run folder, or of its ``model`` folder.

    :raises InputError: there is no index.
    """
    from codeling.errors import InputError

    if not model.exists():
        raise InputError(f"{model}: no such folder; give a run folder, such as runs/demo")
    for folder in (model / "provenance", model.parent / "provenance", model):
        if (folder / "index.safetensors").is_file():
            return folder
    raise InputError(
        f"{model}: no provenance index in it; give a run folder that `codeling run` has finished"
    )
