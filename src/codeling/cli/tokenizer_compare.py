"""``codeling tokenizer compare``: several tokenizers on the same Python."""

from pathlib import Path
from typing import Annotated

import typer

from codeling.cli.stages import AsJson, parse_path
from codeling.quantity import quantity


def compare(
    tokenizers: Annotated[
        list[Path],
        typer.Argument(metavar="TOKENIZER...", help="tokenizer.json, its folder, or .tiktoken."),
    ],
    on: Annotated[Path, typer.Option(metavar="FOLDER", help="Python to compare them on.")],
    page: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", parser=parse_path, help="Write a page with tokenized code."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare tokenizers on a folder of Python.

    Example:  codeling tokenizer compare runs/demo gpt2.json --on src
    """
    import json
    from dataclasses import asdict

    from codeling.cli.screen import Screen
    from codeling.manifest import write_bytes
    from codeling.tokenizer.comparison_page import COLUMNS, comparison_page, figures_row
    from codeling.tokenizer.measure import measure, read_texts, read_tokenizer

    peers = [read_tokenizer(path) for path in tokenizers]
    named = read_texts(on)
    texts = [text for _, text in named]
    figures = []
    with Screen().task("comparing", len(peers), "tokenizers") as advance:
        for peer in peers:
            figures.append(measure(peer, texts))
            advance(1)
    corpus = f"{quantity(len(texts), 'file')} of {on}"
    if page is not None:
        name, text = sorted(named, key=lambda each: len(each[1]))[len(named) // 2]
        write_bytes(page, comparison_page(peers, figures, name, text, corpus).encode())
    if as_json:
        answer = {"on": str(on), "tokenizers": [asdict(each) for each in figures]}
        typer.echo(json.dumps(answer | ({"page": str(page)} if page else {}), ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    first, *columns = zip(COLUMNS, *map(figures_row, figures), strict=True)
    table.add_column(first[0], overflow="fold")
    for title, *cells in columns:
        whole = max(map(len, (*title.split(), *cells)))  # never wrap a number
        table.add_column(title, justify="right", min_width=whole)
    for each in figures:
        table.add_row(*figures_row(each))
    Console(highlight=False).print(table)
    typer.echo(corpus)
    if page is not None:
        typer.echo(f"tokenized code: {page}")
