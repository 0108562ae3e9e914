"""Options that the commands which complete code share."""

from pathlib import Path
from typing import Annotated

import typer

from codeling.cli.stages import parse_path

Precision = Annotated[
    str,
    typer.Option(metavar="NAME", help="Weights: fp32, int8 (CPU only), or auto: int8 on a CPU."),
]
Device = Annotated[
    str, typer.Option(metavar="NAME", help="Device: cpu, cuda, cuda:N, or auto: CUDA if available.")
]
TopK = Annotated[
    int | None,
    typer.Option(metavar="K", help="Top-k sampling: keep the K most probable tokens."),
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="MODE",
        help="Memory beside the model: auto (the file, the project, the run's corpus), "
        "document (the file and the project) or off.",
    ),
]
Project = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", parser=parse_path, help="Folder of a project that the memory reads."
    ),
]
Aggressiveness = Annotated[
    str, typer.Option(metavar="LEVEL", help="How much is suggested: quiet, normal or eager.")
]


def threshold_of(aggressiveness: str) -> float:
    """The threshold of suggestions. :raises UsageError: there is no such level."""
    from codeling.errors import UsageError
    from codeling.generation.suggestions.suggester import THRESHOLDS

    for level, threshold in THRESHOLDS.items():
        if level == aggressiveness:
            return threshold
    levels = ", ".join(THRESHOLDS)
    raise UsageError(f"--aggressiveness is one of {levels}, not {aggressiveness!r}")
