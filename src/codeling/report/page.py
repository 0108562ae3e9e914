"""An HTML page and its parts: the frame, escaped text, tables, numbers for people.

A page holds all that it shows: nothing is fetched, and there is no script. This module imports
nothing of the package and knows nothing of runs.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = "page.html"

_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
_CONTROLS[127] = "\u2421"


def escape(value: object) -> str:
    """Text that stands for itself in HTML, control characters made visible."""
    return html.escape(str(value).translate(_CONTROLS))


def frame(
    *,
    kind: str,
    name: str,
    sections: Sequence[tuple[str, str, str]],
    summary: str = "",
    tiles: str = "",
    footer: str = "",
) -> str:
    """A whole page. ``sections`` are (id, title, HTML), ``tiles`` is HTML, the rest is text."""
    template = Template(Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(f"{name}: a {kind}"),
        kind=escape(kind),
        name=escape(name),
        summary=escape(summary),
        links="".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in sections),
        tiles=tiles,
        sections="\n".join(
            f'<section id="{name}" aria-labelledby="{name}-title">'
            f'<h2 id="{name}-title">{escape(title)}</h2>\n{body}</section>'
            for name, title, body in sections
        ),
        footer=escape(f"{footer} Nothing on this page is fetched from anywhere.".strip()),
    )


def tile_list(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Numbers at the head of a page: label, value, and a line more."""
    inner = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}"
        f'<span class="more">{escape(more)}</span></dd></div>'
        for label, value, more in tiles
    )
    return f'<dl class="tiles">{inner}</dl>' if tiles else ""


def completion(sample: Mapping[str, Any]) -> str:
    """A prompt and what a model wrote after it, told apart."""
    return (
        f'<pre><code><span class="prompt">{escape(sample["prompt"])}</span>'
        f"<mark>{escape(sample['completion'])}</mark></code></pre>"
    )


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    numbers: Iterable[int] = (),
    bars: Sequence[tuple[str, float]] = (),
    optional: Iterable[int] = (),
) -> str:
    """A table whose first column names the row. ``numbers`` are columns set to the right,
    ``optional`` ones that a narrow screen leaves out; ``bars`` one (class, share) a row."""
    right, hidden = set(numbers), set(optional)

    def cell(column: int, text: str, tag: str, scope: str = "") -> str:
        names = ["number"] * (column in right) + ["optional"] * (column in hidden)
        kind = f' class="{" ".join(names)}"' if names else ""
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    lines = ["<table>"]
    if caption:
        lines.append(f"<caption>{escape(caption)}</caption>")
    titles = "".join(cell(i, title, "th", ' scope="col"') for i, title in enumerate(head))
    bar_head = '<th aria-hidden="true"></th>' if bars else ""
    lines.append(f"<thead><tr>{titles}{bar_head}</tr></thead><tbody>")
    for number, row in enumerate(rows):
        cells = cell(0, row[0], "th", ' scope="row"')
        cells += "".join(cell(i, text, "td") for i, text in enumerate(row[1:], 1))
        if bars:
            kind, share = bars[number]
            width = max(0.5, 100 * share) if share else 0
            cells += (
                f'<td class="bar" aria-hidden="true"><i class="{escape(kind)}" '
                f'style="width:{width:.2f}%"></i></td>'
            )
        lines.append(f"<tr>{cells}</tr>")
    lines.append("</tbody></table>")
    return "\n".join(lines)


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
