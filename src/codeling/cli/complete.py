"""``codeling complete``: go on with a prompt, or fill in the middle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codeling.generation.request import Completion

SAMPLING_TEMPERATURE = 0.8
"""Where several completions are asked for and no temperature is given."""


def complete(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run folder, a Hugging Face folder, or hf://owner/name."
        ),
    ],
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE | -]", help="The prompt; - is standard input."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="The prompt, instead of FILE.")] = None,
    suffix: Annotated[
        str | None, typer.Option(help="What comes after the gap: fill in what stands between.")
    ] = None,
    n: Annotated[int, typer.Option("-n", help="So many completions.")] = 1,
    max_new_tokens: Annotated[int, typer.Option(help="At most so many tokens.")] = 128,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0: always the likeliest token; 1: the model's own distribution.",
            show_default=f"0; {SAMPLING_TEMPERATURE} with -n above 1",
        ),
    ] = None,
    prose_temperature: Annotated[
        float | None,
        typer.Option(
            help="Within comments and docstrings: 1 lets them end where they should.",
            show_default="as --temperature",
        ),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Only the K likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest tokens that together have P.")
    ] = None,
    max_repeats: Annotated[
        int,
        typer.Option(
            help="The same tokens so many times in a row, short runs more often; 0: no limit."
        ),
    ] = 3,
    stop: Annotated[
        list[str] | None, typer.Option(help="End before this text. May be given again.")
    ] = None,
    block: Annotated[
        bool, typer.Option("--block", help="End where the function body ends.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another seed, other samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Complete Python: what comes after a prompt, or between it and a suffix.

    Standard output holds the completion alone, as it is written.

    Example:  codeling complete runs/demo --prompt "def mean(xs):" --block
    """
    import json
    import sys
    from dataclasses import asdict

    from codeling.cli.source_file import read_source
    from codeling.errors import UsageError

    if (prompt is None) == (file is None):
        raise UsageError('give either --prompt TEXT or a FILE (or "-" for standard input)')
    text = read_source(file)[1] if file is not None else prompt or ""

    from codeling.generation.engine import Engine
    from codeling.generation.request import SamplingKwargs

    if temperature is None:
        temperature = SAMPLING_TEMPERATURE if n > 1 else 0.0
    options = SamplingKwargs(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        prose_temperature=prose_temperature,
        top_k=top_k,
        top_p=top_p,
        max_repeats=max_repeats,
        stop=stop or (),
        stop_at_block_end=block,
        seed=seed,
    )
    engine = Engine.load(model)
    if as_json:
        completions = engine.complete_batch([text], [suffix], n=n, **options)[0]
        answer = {
            "model": model,
            "prompt": text,
            "suffix": suffix,
            "completions": [asdict(completion) for completion in completions],
        }
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
        return
    if n == 1:
        _show_prompt(prompt)
        last = ""
        for piece in engine.stream(text, suffix, **options):
            sys.stdout.write(piece)
            sys.stdout.flush()
            last = piece
        if sys.stdout.isatty():
            _end_line(last)
    else:
        from codeling.cli.screen import Screen

        _show_all(engine.complete_batch([text], [suffix], n=n, progress=Screen(), **options)[0])
    if sys.stderr.isatty() and (Path(model) / "provenance").is_dir():
        place = f'--prompt "{prompt}"' if prompt and "\n" not in prompt else file or "-"
        command = f"codeling complete {model} {place} | codeling trace {model}"
        typer.secho(f"next: {command}   (where it may come from)", err=True, dim=True)


def _show_prompt(prompt: str | None) -> None:
    """On a terminal, the prompt that the completion goes on with; elsewhere nothing."""
    import sys

    if prompt and sys.stdout.isatty():
        typer.secho(prompt, nl=False, dim=True)


def _show_all(completions: "Sequence[Completion]") -> None:
    import sys

    for number, completion in enumerate(completions, start=1):
        title = f"# completion {number} of {len(completions)} ({completion.finish_reason})"
        sys.stdout.write(f"{title}\n{completion.text}")
        _end_line(completion.text)


def _end_line(text: str) -> None:
    import sys

    if not text.endswith("\n"):
        sys.stdout.write("\n")
