"""A model adapted to a project writes more of its lines right, and other code no worse.

Runs ``codeling adapt`` on every PROJECT with every combination of replay share and learning rate
(as a multiple of the default), and prints one row for each: the lines of the project's newest files
that are exactly right before and after, and bits per byte of these files and of other code.
Settings are chosen on one project and judged on the others. A finished row is kept in OUT and not
run again.

    python -m benchmarks.training.adapting runs/demo PROJECT PROJECT --out runs/adapting
    python -m benchmarks.training.adapting runs/demo PROJECT --out runs/adapting \
        --rates 0.5 1 2 --replay 0.25 0.5
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from codeling.adaptation.adapting import adapt
from codeling.adaptation.replay import REPLAY
from codeling.cli.adapt import gain
from codeling.cli.screen import Screen
from codeling.recipe import parse_recipe
from codeling.recipe.initial_shape import InitialShape
from codeling.training.initial_model import InitialModel

COLUMNS = (
    "project", "replay", "rates", "tokens", "kept", "next line", "with memory", "project, bits",
    "other, bits",
)  # fmt: skip


def row(project: Path, replay: float, rate: float, values: dict[str, Any]) -> list[str]:
    """One line of the table."""
    before, after = values["before"], values["after"]
    bits = [
        f"{before[key]:.3f} → {after[key]:.3f} ({100 * (after[key] / before[key] - 1):+.1f} %)"
        for key in ("bits_per_byte", "other_bits_per_byte")
    ]
    return [
        project.name, f"{replay:g}", f"× {rate:g}", f"{values['training']['tokens']:,}",
        f"{values['kept_share']:.2f}", gain(values, "next_line"),
        gain(values, "next_line_with_memory"), *bits,
    ]  # fmt: skip


def main() -> None:
    """Adapt to every project with every setting."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", metavar="RUN", help="run folder")
    parser.add_argument("projects", metavar="PROJECT", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the adapted runs")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each training")
    parser.add_argument("--tokens", type=int, help="length of each training in tokens instead")
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0], help="times the default")
    parser.add_argument("--replay", type=float, nargs="+", default=[REPLAY])
    options = parser.parse_args()
    shape: InitialShape = InitialModel.load(options.model, 0.5).shape
    length = f"tokens={options.tokens}" if options.tokens else f"minutes={options.minutes}"
    changes = [f"training.{length}", "training.mixture_exponent=0"]
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    settings = product(options.projects, options.replay, options.rates)
    for project, replay, rate in settings:
        recipe = parse_recipe("", [*changes, f'training.init="{options.model}"'])
        rates = recipe.resolved(shape).training
        assert rates.adamw_lr is not None
        assert rates.muon_lr is not None
        update = {"adamw_lr": rate * rates.adamw_lr, "muon_lr": rate * rates.muon_lr}
        training = recipe.training.model_copy(update=update)
        out = options.out / f"{project.resolve().name}-{replay:g}-{rate:g}"
        values = adapt(
            recipe.model_copy(update={"training": training}), project, out, replay, Screen()
        )
        print("| " + " | ".join(row(project, replay, rate, values)) + " |", flush=True)


if __name__ == "__main__":
    main()
