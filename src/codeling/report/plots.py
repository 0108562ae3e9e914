"""The plots of a run as inline SVG in the colours of the page.

matplotlib draws in placeholder colours, which are then replaced by CSS variables, so that the
plots follow the page's light and dark scheme. The same numbers give the same bytes. matplotlib is
imported on first use, because training runs without it. This module must not read files.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from markupsafe import Markup

from codeling.report.page import short_number

MAX_POINTS = 600
"""Points of one curve; longer curves are averaged over equal intervals."""
SMOOTHING = 0.03
"""Width of the window that smooths the loss, as a share of the run."""

_PLACEHOLDERS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--second)",
    "#060606": "var(--third)",
}
_INK, _MUTED, _LINE, _ACCENT, _SECOND, _THIRD = _PLACEHOLDERS
_STYLE = {
    "svg.hashsalt": "codeling",
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.color": _LINE,
    "ytick.labelcolor": _MUTED,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Plot:
    """One or more curves over the number of tokens."""

    name: str
    """Prefix of every id in :attr:`svg`."""
    title: str
    unit: str
    svg: Markup
    is_wide: bool


Line = Mapping[str, Any]
"""One line of ``metrics.jsonl``."""


def plots(steps: Sequence[Line], validations: Sequence[Line]) -> list[Plot]:
    """Every plot that the lines of ``metrics.jsonl`` have numbers for.

    :raises ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # noqa: F401  (fails before anything is drawn)

    drawn = []
    losses = _points(steps, "loss")
    validation_losses = _points(validations, "loss")
    if losses or validation_losses:
        drawn.append(_loss(losses, validation_losses))
    if bits := _points(validations, "bits_per_byte"):
        drawn.append(_bits_per_byte(bits))
    for name, key, title, unit in (
        ("rate", "learning_rate", "Learning rate", "share of its peak"),
        ("norm", "gradient_norm", "Gradient norm", "before clipping"),
        ("speed", "tokens_per_second", "Speed", "tokens per second"),
    ):
        if points := _points(steps, key):
            drawn.append(_small(name, title, unit, points))
    return drawn


def smoothed(values: Sequence[float], share: float = SMOOTHING) -> list[float]:
    """Centred moving average; the window is ``share`` of all values.

    At the start the window shrinks to what lies before the value, because the loss falls fast
    there. The result ends half a window before the values do: a shorter window, or a line fitted
    to the last one, would follow the noise of the last steps up or down.
    """
    count = len(values)
    half = min(max(int(share * count / 2), 5), count // 8)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    result = []
    for middle in range(count - half):
        reach = min(half, middle)
        begin, end = middle - reach, middle + reach + 1
        result.append((sums[end] - sums[begin]) / (end - begin))
    return result


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most :data:`MAX_POINTS` points: means over equal intervals."""
    if len(points) <= MAX_POINTS:
        return list(points)
    result = []
    for number in range(MAX_POINTS):
        begin = number * len(points) // MAX_POINTS
        part = points[begin : (number + 1) * len(points) // MAX_POINTS]
        result.append((sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)))
    return result


def _points(lines: Sequence[Line], key: str) -> list[tuple[float, float]]:
    """(tokens, value) of every line with a finite number under ``key``."""
    found = []
    for line in lines:
        x, y = line.get("tokens"), line.get(key)
        if not (isinstance(x, int | float) and isinstance(y, int | float)):
            continue
        if math.isfinite(x) and math.isfinite(y):
            found.append((float(x), float(y)))
    return found


def _loss(losses: list[tuple[float, float]], validation: list[tuple[float, float]]) -> Plot:
    def draw(axes: Any) -> None:
        if losses:
            axes.plot(*zip(*thinned(losses), strict=True), color=_LINE, linewidth=1.0)
            smooth = smoothed([y for _, y in losses])
            curve = thinned([(x, y) for (x, _), y in zip(losses, smooth, strict=False)])
            axes.plot(*zip(*curve, strict=True), color=_ACCENT, label="training, smoothed")
            lowest, highest = loss_limits(losses, [y for _, y in [*curve, *validation]])
            axes.set_ylim(lowest, highest)
        if validation:
            axes.plot(
                *zip(*validation, strict=True),
                color=_SECOND, marker="o", markersize=3.5, linewidth=1.0, label="validation",
            )  # fmt: skip
        axes.legend(loc="upper right")

    return _draw("loss", "Loss", "nats per token", draw, is_wide=True)


def loss_limits(
    losses: Sequence[tuple[float, float]], curves: Sequence[float]
) -> tuple[float, float]:
    """Ends of the loss axis: the first steps and every value of ``curves`` are inside.

    A later spike of a single step may be cut off.
    """
    first_steps = losses[: max(1, len(losses) // 20)]
    highest = max([*(y for _, y in first_steps), *curves])
    lowest = min([*(y for _, y in losses), *curves])
    margin = 0.06 * max(highest - lowest, 1e-9)
    return lowest - margin, highest + margin


def _bits_per_byte(points: list[tuple[float, float]]) -> Plot:
    def draw(axes: Any) -> None:
        axes.plot(
            *zip(*points, strict=True),
            color=_SECOND, marker="o", markersize=3.5, label=f"validation {points[-1][1]:.3f}",
        )  # fmt: skip
        axes.margins(y=0.12)
        axes.legend(loc="upper right")

    return _draw("bits", "Bits per byte", "on the validation split", draw, is_wide=True)


def _small(name: str, title: str, unit: str, points: list[tuple[float, float]]) -> Plot:
    def draw(axes: Any) -> None:
        axes.plot(*zip(*thinned(points), strict=True), color=_ACCENT, linewidth=1.2)
        values = sorted(y for _, y in points)
        top = values[-1] if name == "rate" else values[int(0.99 * (len(values) - 1))]
        axes.set_ylim(0, 1.08 * top or 1)

    return _draw(name, title, unit, draw, is_wide=False)


def trade_off(
    name: str, title: str, points: Sequence[tuple[float, float]], labels: tuple[str, str]
) -> Plot | None:
    """A curve through ``points`` (x, y), whose axes have ``labels``.

    None if matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError:
        return None

    def draw(axes: Any) -> None:
        axes.plot(*zip(*points, strict=True), color=_ACCENT, marker="o", markersize=3.5)
        axes.set_ylim(bottom=0)

    return _draw(name, title, labels[1], draw, is_wide=True, x_label=labels[0])


def _draw(
    name: str, title: str, unit: str, draw: Any, *, is_wide: bool, x_label: str = "tokens"
) -> Plot:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE, "backend": "svg"}):
        width, height = (5.6, 2.9) if is_wide else (3.9, 2.3)
        figure = Figure(figsize=(width, height))
        # Room for the labels, which are short numbers. matplotlib's own layout takes as long as
        # the drawing.
        axes = figure.add_axes((0.62 / width, 0.48 / height, 1 - 0.77 / width, 1 - 0.58 / height))
        draw(axes)
        axes.margins(x=0.02)
        axes.set_xlim(left=0)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(5 if is_wide else 4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        axes.grid(axis="x", visible=False)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return Plot(name, title, unit, _for_page(out.getvalue(), name, f"{title}, {unit}"), is_wide)


def _for_page(svg: str, name: str, label: str) -> Markup:
    """An SVG file as an inline element: no header, no links, unique ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box, "matplotlib writes a viewBox"
    opening = f'<svg role="img" aria-label="{label}" {view_box.group()}>'
    svg = opening + svg[svg.index(">") + 1 :]
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for placeholder, variable in _PLACEHOLDERS.items():
        svg = svg.replace(placeholder, variable)
    return Markup(re.sub(r"\s*\n\s*", "\n", svg).strip())  # noqa: S704  (by matplotlib)
