"""``codeling complete``: continue a prompt, or fill the gap between a prompt and a suffix."""

from typing import TYPE_CHECKING, Annotated

import typer

from codeling.cli.model_options import Memory, Precision, Project, TopK
from codeling.cli.stages import AsJson
from codeling.quantity import quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from codeling.cli.next_command import Option
    from codeling.generation.request import Completion


def complete(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, Hugging Face folder or hf://owner/name."),
    ],
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="Prompt file; - for standard input.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Prompt, instead of FILE.")
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Text after the gap to fill.")
    ] = None,
    n: Annotated[int, typer.Option("-n", metavar="N", help="Number of completions.")] = 1,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", help="Maximum number of new tokens.")
    ] = 128,
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Sampling temperature; 0 is greedy.",
            show_default="0; 0.8 if -n is above 1",
        ),
    ] = None,
    prose_temperature: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="Temperature in comments and docstrings.",
            show_default="same as --temperature",
        ),
    ] = None,
    top_k: TopK = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Nucleus sampling: keep the smallest set of tokens whose probability exceeds P.",
        ),
    ] = None,
    max_repeats: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Maximum times a sequence may repeat back to back (0: unlimited).",
        ),
    ] = 3,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Stop before this text. Repeatable."),
    ] = None,
    block: Annotated[
        bool, typer.Option("--block", help="Stop at the end of the function body.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0,
    precision: Precision = "auto",
    memory: Memory = "auto",
    project: Project = None,
    sources: Annotated[
        bool, typer.Option("--sources", help="Show the places that the memory copied from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Complete Python: continue a prompt, or fill the gap between a prompt and a suffix.

    Standard output is the completion only, without the prompt.

    Example:  codeling complete runs/demo --prompt "def mean(xs):" --block
    """
    import sys

    from codeling.cli.source_file import read_source
    from codeling.cores import use_one_blas_thread
    from codeling.errors import UsageError
    from codeling.run_folder import find_run_folder

    if (prompt is None) == (file is None):
        raise UsageError("give either --prompt TEXT or a FILE (- for standard input)")
    if sources and memory == "off":
        raise UsageError("--sources needs a memory; leave out --memory off")
    text = read_source(file)[1] if file is not None else prompt or ""

    use_one_blas_thread()
    from codeling.generation.engine import Engine
    from codeling.generation.request import (
        Request,
        SamplingKwargs,
        SamplingParams,
        default_temperature,
    )
    from codeling.generation.response import CompletionResponse
    from codeling.memory.loading import load_memory
    from codeling.memory.project import ProjectMemory

    given_temperature = temperature
    if temperature is None:
        temperature = default_temperature(n)
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
        record_sources=sources,
    )
    engine = Engine.load(model, precision=precision)
    mixture = load_memory(
        model, engine.tokenizer, memory, project, None if file == "-" else file, text
    )
    engine.memory = mixture
    if mixture and isinstance(mixture.project, ProjectMemory) and not mixture.project.num_files:
        typer.echo(f"{project}: no other Python files for the memory", err=True)
    if as_json:
        completions = engine.complete_batch([text], [suffix], n=n, **options)[0]
        response = CompletionResponse(model, text, suffix, completions)
        sys.stdout.write(response.to_json() + "\n")
        return
    if n == 1 and not sources:
        _show_prompt(prompt)
        last = ""
        sequence = engine.sequence(Request(text, suffix, SamplingParams(**options)))
        for piece in engine.stream_sequence(sequence):
            sys.stdout.write(piece)
            sys.stdout.flush()
            last = piece
        if sys.stdout.isatty():
            _end_line(last)
        finished = [sequence.finish_reason]
    else:
        from codeling.cli.screen import Screen

        completions = engine.complete_batch([text], [suffix], n=n, progress=Screen(), **options)[0]
        _show_all(completions, sources)
        finished = [each.finish_reason for each in completions]
    if block and "length" in finished:
        limit = quantity(max_new_tokens, "token")
        typer.echo(f"stopped at the limit of {limit}; the block is not complete", err=True)
    run = find_run_folder(model)
    if sys.stderr.isatty() and file != "-" and run and run.provenance.is_dir():
        given: dict[str, Option] = {
            "--prompt": prompt,
            "--suffix": suffix,
            "-n": n if n != 1 else None,
            "--max-new-tokens": max_new_tokens if max_new_tokens != 128 else None,
            "--temperature": given_temperature,
            "--prose-temperature": prose_temperature,
            "--top-k": top_k,
            "--top-p": top_p,
            "--max-repeats": max_repeats if max_repeats != 3 else None,
            "--stop": stop,
            "--block": block,
            "--seed": seed or None,
            "--precision": precision if precision != "auto" else None,
            "--memory": memory if memory != "auto" else None,
            "--project": str(project) if project else None,
        }
        typer.secho(f"next, to find its sources:\n  {trace_command(model, file, given)}", err=True)


def trace_command(model: str, file: str | None, options: "dict[str, Option]") -> str:
    """The command that repeats a completion and traces it in the training data."""
    from codeling.cli.next_command import next_command, pipe

    arguments = (model,) if file is None else (model, file)
    again = next_command("complete", *arguments, options=options)
    return pipe(again, next_command("trace", model))


def _show_prompt(prompt: str | None) -> None:
    """Print the prompt before the completion if standard output is a terminal."""
    import sys

    if prompt and sys.stdout.isatty():
        typer.secho(prompt, nl=False, dim=True)


def _show_all(completions: "Sequence[Completion]", sources: bool) -> None:
    import sys

    for number, completion in enumerate(completions, start=1):
        if len(completions) > 1:
            title = f"# completion {number} of {len(completions)} ({completion.finish_reason})"
            sys.stdout.write(f"{title}\n")
        sys.stdout.write(completion.text)
        _end_line(completion.text)
        for span in completion.sources:
            place = f"{span.path or 'this file'}:{span.start_line}-{span.end_line}"
            first, _, more = span.text.strip().partition("\n")
            shown = f"{first} …" if more else first
            typer.secho(f"# {place}  ({span.share:.0%})  {shown}", err=True, dim=True)
        if sources and not completion.sources:
            typer.secho("# the memory proposed nothing in it", err=True, dim=True)


def _end_line(text: str) -> None:
    import sys

    if not text.endswith("\n"):
        sys.stdout.write("\n")
