"""The HTML pages: one frame, Jinja templates, numbers formatted for people.

A page is self-contained: it loads nothing and runs no script. Autoescape is on, and control
characters become visible, so any text can be shown. This module imports nothing of the package
and must not know what the pages show.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup

_TEMPLATES = Path(__file__).with_name("templates")
_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
_CONTROLS[127] = "\u2421"


class PageSection(NamedTuple):
    """One section of a page, with an entry in its table of contents."""

    id: str
    title: str
    body: Markup


def frame(
    *,
    kind: str,
    name: str,
    sections: Sequence[PageSection],
    summary: str = "",
    tiles: Sequence[tuple[str, str, str]] = (),
    footer: str = "",
) -> str:
    """A whole page. ``tiles`` are (label, value, additional line)."""
    return _environment(_TEMPLATES).get_template("frame.html").render(
        kind=kind, name=name, sections=sections, summary=summary, tiles=tiles, footer=footer
    )  # fmt: skip


def macros(template: Path) -> Any:
    """The macros of a template file as attributes; a call returns :class:`~markupsafe.Markup`.

    The template may import ``macros.html``. An undefined value raises
    :class:`jinja2.UndefinedError`.
    """
    return _environment(template.parent).get_template(template.name).module


@cache
def _environment(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short_bytes": short_bytes, "short_seconds": short_seconds}
    return environment


def visible(value: Any) -> Any:
    """``value``; in a text that is not HTML yet, control characters get a visible symbol."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.translate(_CONTROLS)
    return value


def short_bytes(number: float) -> str:
    """1234567 → 1.2 MB."""
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:,} B"


def short_seconds(seconds: float) -> str:
    """83 → 1 min 23 s."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60 and not rest:
        return f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def short_number(value: float) -> str:
    """1234567 → 1.23M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
