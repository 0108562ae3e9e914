"""``codeling trace``: where does this text stand in the training data."""

from pathlib import Path
from typing import Annotated

import typer


def trace(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A run folder, with its provenance/ in it.")
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE | -", help="The text; - is standard input.")
    ] = "-",
    limit: Annotated[int, typer.Option(min=1, help="At most so many matches.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Name the training files that a text has passages of about three lines or more from.

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
            f"No passage of {GUARANTEE} or more words and signs of this text stands in the "
            "training data."
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("lines", "share", "where it stands in the training data", "license"):
        table.add_column(column, overflow="fold", justify="right" if column == "share" else "left")
    for match in matches:
        where = Text(f"{match.repository}: {match.path}:{match.start_line}-{match.end_line}")
        if match.max_occurrences > 1:
            where.append(f"\none of {match.max_occurrences} places", style="dim")
        if match.url:
            where.append(f"\n{match.url}", style="dim")
        lines = f"{match.text_start_line}-{match.text_end_line}"
        share = f"{100 * match.share:.0f} %"
        table.add_row(lines, share, where, Text(match.license or "not known"))
    console.print(table)


def _provenance_folder(model: Path) -> Path:
    """``MODEL/provenance``, or that beside it where MODEL is the ``model`` of a run folder.

    :raises InputError: there is neither.
    """
    from codeling.errors import InputError

    if not model.exists():
        raise InputError(f"{model}: no such folder; give a run folder, as runs/demo")
    for folder in (model / "provenance", model.parent / "provenance", model):
        if (folder / "index.safetensors").is_file():
            return folder
    raise InputError(
        f"{model}: no provenance index in it; give a run folder that `codeling run` has finished"
    )
