"""``codeling export``: a model in the format of another engine."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codeling.cli.stages import AsJson, parse_path
from codeling.quantity import quantity

if TYPE_CHECKING:
    from codeling.export.export_source import ExportSource

_COST_BYTES = 200_000
"""Text that the cost of another cut is measured on."""


class Format(str, Enum):
    """Formats that can be written."""

    gguf = "gguf"
    ctranslate2 = "ctranslate2"
    hf = "hf"


_TYPES = {"gguf": ("f16", "f32", "q8_0"), "ctranslate2": ("float32", "int8"), "hf": ("f32",)}
"""Types of the weights of each format, the default first."""


def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Run folder, Hugging Face folder or hf://owner/name."),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            parser=parse_path,
            help="New folder; for gguf a new file ending in .gguf.",
        ),
    ],
    to: Annotated[Format, typer.Option("--to", help="Format to write.")] = Format.gguf,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="Type of the weights. gguf: f16, f32, q8_0; ctranslate2: float32, int8.",
            show_default="the first one",
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="With hf: upload the folder to the Hub."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: a new repository is public.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model for llama.cpp and Ollama (gguf), CTranslate2, or the Hugging Face Hub (hf).

    The output is written under a temporary name, read back and compared with the model, then
    renamed. Nothing is overwritten. If an upload fails, the same command uploads the folder that is
    there.

    Example:  codeling export runs/demo demo.gguf --to gguf --type q8_0
    """
    from codeling.errors import UsageError
    from codeling.export.export_source import ExportSource

    types = _TYPES[to.value]
    if (chosen := kind or types[0]) not in types:
        raise UsageError(f"--type {kind}: {to.value} has {', '.join(types)}")
    if push and to is not Format.hf:
        raise UsageError("--push goes with --to hf")
    if public and not push:
        raise UsageError("--public goes with --push")
    if push:
        from codeling.export.hugging_face import check_repository

        check_repository(push)
    # With --push a folder may exist: that of an export whose upload failed.
    if not (push and (out / "config.json").is_file()):
        _check_new(to, out)
    _require(to)
    source = ExportSource.read(model)
    cost = _cost_of_the_cut(source) if to is Format.gguf else None
    files = _written_before(source, out) if push else None
    if files is None:
        files = _write(to, source, out, chosen)
    address = None
    if push:
        from codeling.export.hugging_face import push as upload

        address = upload(out, push, private=not public)
    if as_json:
        _print_json(to, chosen, files, cost, address)
        return
    for path in files:
        typer.echo(f"{path}  {quantity(path.stat().st_size, 'byte')}")
    if address:
        typer.echo(f"uploaded: {address}")
    if to is Format.gguf:
        import shlex

        name, script = shlex.quote(source.name), shlex.quote(str(files[1]))
        typer.echo("next:")
        typer.echo(f"  llama-server -m {shlex.quote(str(out))}")
        typer.echo(f"  ollama create {name} -f {script}")


def _check_new(to: Format, out: Path) -> None:
    from codeling.export.export_source import check_new_folder
    from codeling.export.gguf import check_new_gguf

    if to is Format.gguf:
        check_new_gguf(out)
    else:
        check_new_folder(out)


def _written_before(source: "ExportSource", out: Path) -> list[Path] | None:
    """The files of a folder that an earlier export of this model wrote, if ``out`` is one."""
    from codeling.cli.screen import Screen
    from codeling.export.hugging_face import exported_files

    files = exported_files(source, out)
    if files is not None:
        Screen().note(f"{out}: contains this model already; uploading it as it is")
    return files


def _require(to: Format) -> None:
    from codeling.cli.extras import require

    modules = {"gguf": ["gguf"], "ctranslate2": ["ctranslate2", "transformers"], "hf": []}
    require("export", *modules[to.value])


def _write(to: Format, source: "ExportSource", out: Path, kind: str) -> list[Path]:
    writer: Any
    if to is Format.gguf:
        from codeling.export.gguf import write_gguf as writer
    elif to is Format.ctranslate2:
        from codeling.export.ctranslate2 import write_ctranslate2 as writer
    else:
        from codeling.export.hugging_face import write_hub_folder

        return write_hub_folder(source, out)
    files: list[Path] = writer(source, out, kind)
    return files


def _cost_of_the_cut(source: "ExportSource") -> dict[str, Any] | None:
    """Say what llama.cpp's cut costs this model, where it has none like the tokenizer's."""
    from dataclasses import asdict

    from codeling.cli.screen import Screen
    from codeling.evaluation.data.held_out import held_out_texts
    from codeling.evaluation.tokenizer_cost import tokenizer_cost
    from codeling.export.gguf import as_llama_cpp_cuts

    other = as_llama_cpp_cuts(source.tokenizer)
    if other is None:
        return None
    screen = Screen()
    screen.note("llama.cpp has no pre-tokenizer like this model's, and will use GPT-2's; measuring")
    texts = held_out_texts(source.folder, _COST_BYTES)
    cost = tokenizer_cost(
        source.network, source.tokenizer, other, texts, _COST_BYTES, progress=screen
    )
    screen.note(f'{cost}; a model with tokenizer.cut = "gpt2" loses nothing there')
    return asdict(cost)


def _print_json(
    to: Format, kind: str, files: list[Path], cost: dict[str, Any] | None, address: str | None
) -> None:
    import json

    from codeling.manifest import sha256_file

    listed = [
        {"path": str(path), "num_bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in files
    ]
    values = {"format": to.value, "type": kind, "files": listed, "cut": cost, "pushed": address}
    typer.echo(json.dumps(values, ensure_ascii=False))
