"""``codeling doctor``: what this machine can do, and what to install for more."""

from typing import Any

import typer

from codeling.cli.stages import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can do, and what to install for more.

    Example:  codeling doctor
    """
    import json

    facts = _facts()
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else value
        typer.echo(f"{name.replace('_', ' '):<22} {shown}")
    for advice in _advice(facts):
        typer.echo(f"→ {advice}")


def _facts() -> dict[str, Any]:
    import os
    import platform
    import shutil
    from importlib.metadata import version

    import torch

    from codeling.training.machine import matrix_rate, multiplies_bf16, processor_features, set_up

    machine = set_up()
    wanted = {"amx_bf16", "avx512_bf16", "avx512f", "avx2", "bf16", "asimd"}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "codeling": version("codeling"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": str(machine.device),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "threads": machine.threads,
        "processor_features": sorted(wanted & processor_features()),
        "bf16": multiplies_bf16(machine.device),
        "matrix_gflops": round(matrix_rate(machine) / 1e9),
        "memory_gib": round(memory / 2**30, 1),
        "free_disk_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "sandbox": _sandbox(),
    }


def _sandbox() -> str:
    """Whether generated code can be run here: by starting a sandbox and judging a program."""
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
    if not facts["bf16"]:
        advice.append("no native bf16: training runs in fp32, at about half the speed or less")
    if facts["free_disk_gib"] < 5:
        advice.append("little free disk: a demo run takes about 1 GiB")
    if facts["memory_gib"] < 6:
        advice.append("little memory: lower training.micro_batch_size in the recipe")
    if facts["sandbox"].startswith("no: "):
        advice.append(f"no programs can be evaluated: {facts['sandbox'][4:]}")
    if not advice:
        advice.append("ready: codeling demo")
    return advice
