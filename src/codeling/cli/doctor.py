"""``codeling doctor``: facts about this machine, and what to install."""

from typing import Annotated, Any

import typer

from codeling.cli.stages import AsJson

_URL = "http://127.0.0.1:8012"
_LABELS = {
    "python": ("Python", ""),
    "torch": ("PyTorch", ""),
    "bf16": ("bf16 products", ""),
    "matrix_gflops": ("matrix product", " GFLOP/s"),
    "memory_gib": ("memory", " GiB"),
    "free_disk_gib": ("free disk", " GiB"),
}
"""Label and unit of the facts that are not printed under their own name."""


def doctor(
    editor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Check a running codeling serve as this editor uses it, and print the editor's "
            "settings: vim, vscode, zed, jetbrains, neovim, marimo.",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The server, with --editor.", show_default="http://127.0.0.1:8012"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this machine, and suggest what to install.

    With --editor, the token is read from the environment variable CODELING_TOKEN.

    Example:  codeling doctor
    """
    import json

    from codeling.errors import UsageError

    if editor is not None:
        _check_editor(editor, url or _URL, as_json)
        return
    if url is not None:
        raise UsageError("--url needs --editor NAME")
    facts = _facts()
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        label, unit = _LABELS.get(name, (name.replace("_", " "), ""))
        typer.echo(f"{label:<22} {_shown(value)}{unit if value is not None else ''}")
    for advice in _advice(facts):
        typer.echo(f"→ {advice}")


def _check_editor(editor: str, url: str, as_json: bool) -> None:
    """Print what works, what is missing, and the editor's settings. Exit 1 if it cannot work."""
    import json
    import os

    from codeling.serving.client import address_of
    from codeling.serving.diagnosis import diagnose
    from codeling.serving.editors import PLACEHOLDER, find_editor
    from codeling.serving.http.access import TOKEN_VARIABLE

    token = os.environ.get(TOKEN_VARIABLE)
    setup, url = find_editor(editor), address_of(url)
    findings = diagnose(editor, url, token)
    works = all(finding.is_good for finding in findings)
    settings = setup.settings(url, token if works else PLACEHOLDER)
    if as_json:
        checks = [{"good": finding.is_good, "text": finding.text} for finding in findings]
        facts = {"editor": setup.name, "url": url, "works": works, "checks": checks}
        typer.echo(json.dumps({**facts, "place": setup.place, "settings": settings}))
    else:
        for finding in findings:
            typer.echo(f"{'ok' if finding.is_good else 'missing':<8} {finding.text}")
        where = "" if works else f" ({PLACEHOLDER} is the token that the server prints)"
        typer.echo(f"settings of {setup.title}, in {setup.place}{where}:")
        typer.echo(settings)
    if not works:
        raise typer.Exit(1)


def _shown(value: Any) -> str:
    """``value`` as a person reads it."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return ", ".join(value) or "none"
    return str(value)


def _facts() -> dict[str, Any]:
    import platform
    import shutil
    from importlib.metadata import version

    import torch

    from codeling.cli.extras import missing_extras
    from codeling.training.machine import matrix_rate, multiplies_bf16, processor_features, set_up

    machine = set_up()
    wanted = {"amx_bf16", "avx512_bf16", "avx512f", "avx2", "bf16", "asimd"}
    return {
        "codeling": version("codeling"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "device": str(machine.device),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": machine.threads,
        "processor_features": sorted(wanted & processor_features()),
        "bf16": multiplies_bf16(machine.device),
        "matrix_gflops": round(matrix_rate(machine) / 1e9),
        "memory_gib": _memory_gib(),
        "free_disk_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "sandbox": _sandbox(),
        "missing_extras": missing_extras(),
    }


def _memory_gib() -> float | None:
    """Physical memory in GiB, or None where the system does not report it (Windows)."""
    import os

    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _sandbox() -> str:
    """Start a sandbox, and report whether generated code can run in it."""
    from codeling.errors import SandboxError
    from codeling.evaluation.sandbox import Sandbox

    try:
        with Sandbox(workers=1) as sandbox:
            limited = all(worker.cgroup for worker in sandbox.running)
    except SandboxError as error:
        return f"no: {error}"
    return "yes, with a cgroup" if limited else "yes"


def _advice(facts: dict[str, Any]) -> list[str]:
    advice = []
    if not facts["system"].startswith("Linux"):
        advice.append(
            "codeling is tested on Linux only; completion, training and scores of text should work "
            "on this system, but were never tried there"
        )
    if not facts["bf16"]:
        advice.append("no native bf16: training runs in fp32, at half the speed or less")
    if facts["free_disk_gib"] < 5:
        advice.append("little free disk: a demo run needs about 1 GiB")
    if facts["memory_gib"] is not None and facts["memory_gib"] < 6:
        advice.append("little memory: lower training.micro_batch_size in the recipe")
    if facts["sandbox"].startswith("no: "):
        advice.append(f"generated programs cannot be run: {facts['sandbox'][4:]}")
    if not advice:
        advice.append("ready: codeling demo")
    for extra, packages in facts["missing_extras"].items():
        advice.append(f"without {', '.join(packages)}: pip install 'codeling[{extra}]'")
    return advice
