"""``codeling trace``: find the passages of a text in the training data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codeling.cli.stages import AsJson

if TYPE_CHECKING:
    from codeling.provenance.index import Index


def trace(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="Run folder with a provenance index.")
    ],
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Text file; - for standard input.")
    ] = "-",
    lines: Annotated[
        str | None,
        typer.Option(
            metavar="A-B",
            help="Only passages on these lines of the text; the other lines are context.",
            show_default="all lines",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of matches.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Find the training files that a text shares passages with.

    A passage is found if it is about three lines or longer.

    Example:  codeling trace runs/demo my_file.py --lines 10-25
    """
    import json
    import sys
    from dataclasses import asdict

    from codeling.cli.source_file import read_source

    index = _load_index(model)
    name, text = read_source(file)
    matches = index.trace(text, lines=_parse_lines(lines) if lines else None, limit=limit)
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
        part = "this text" if lines is None else "the text on these lines"
        console.print(
            f"No passage of {GUARANTEE} or more words and signs of {part} is in the training data."
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("lines", "share", "place in the training data", "licence"):
        table.add_column(column, overflow="fold", justify="right" if column == "share" else "left")
    for match in matches:
        where = Text(f"{match.repository}: {match.path}:{match.start_line}-{match.end_line}")
        if match.max_occurrences > 1:
            where.append(f"\none of {match.max_occurrences} places", style="dim")
        if match.url:
            where.append(f"\n{match.url}", style="dim")
        place = f"{match.text_start_line}-{match.text_end_line}"
        share = f"{100 * match.share:.0f} %"
        table.add_row(place, share, where, Text(match.license or "unknown"))
    console.print(table)


def _parse_lines(value: str) -> tuple[int, int]:
    """First and last line of ``10-25`` or ``10``. :raises UsageError: it is neither."""
    from codeling.errors import UsageError

    first, dash, last = value.partition("-")
    last = last if dash else first
    if not (first.isdecimal() and last.isdecimal()):
        raise UsageError(f"--lines {value}: not a range of lines, such as 10-25")
    return int(first), int(last)


def _load_index(model: Path) -> "Index":
    """The provenance index of a run folder, or of the run that a path belongs to.

    :raises UsageError: the path belongs to no run folder, or to an adaptation.
    :raises InputError: the run has no index.
    """
    from codeling.errors import UsageError
    from codeling.provenance.index import Index
    from codeling.run_folder import ADAPTATION, find_run_folder

    if run := find_run_folder(model):
        if (run.path / ADAPTATION).is_file():
            raise UsageError(
                f"{model}: an adaptation has no provenance index; give the run that it started from"
            )
        return Index.load(run.provenance)
    reason = (
        "not a run folder, so it has no provenance index" if model.exists() else "no such folder"
    )
    raise UsageError(f"{model}: {reason}; give a run folder, such as runs/demo")
