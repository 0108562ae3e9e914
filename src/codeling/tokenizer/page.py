"""The same code, cut by several tokenizers, as one self-contained HTML page.

Every token is a coloured span, its neighbour in another colour; hovering says its bytes and id.
White space is visible. Everything shown is escaped, nothing is loaded from elsewhere and no
script runs. This module must not know how the figures were measured.
"""

import html
from collections.abc import Iterator, Sequence

from codeling.tokenizer.measure import Measured, Peer
from codeling.tokenizer.tokenizer import token_bytes

MAX_SHOWN_LINES = 60

_COLOURS = 6
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem;
  background: light-dark(#fdfdfc, #17181a); color: light-dark(#1d1f21, #e6e6e3); }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid light-dark(#ddd, #333); }
th:first-child, td:first-child { text-align: left; }
pre { font: 13px/1.75 ui-monospace, "DejaVu Sans Mono", monospace; padding: .8rem 1rem; margin: 0;
  background: light-dark(#fff, #1f2022); border: 1px solid light-dark(#ddd, #333);
  border-radius: 6px; }
pre span { border-radius: 3px; padding: 1.5px 0; }
pre i { font-style: normal; opacity: .35; }
pre span:hover { outline: 2px solid currentColor; }
.t0 { background: light-dark(#cfe6ff, #17405f); } .t1 { background: light-dark(#ffe2b8, #5b3d0b); }
.t2 { background: light-dark(#d4f1cf, #1f4a23); } .t3 { background: light-dark(#f7d3e6, #56233f); }
.t4 { background: light-dark(#e2dbfb, #3b3066); } .t5 { background: light-dark(#f3efa9, #494508); }
p { max-width: 46rem; }
"""

COLUMNS = (
    "tokenizer", "entries", "bytes a token", "tokens a line", "lossless", "MB/s",
    "same after newline", "same after indentation",
)  # fmt: skip


def row(measured: Measured) -> list[str]:
    """The figures of one tokenizer in the order of :data:`COLUMNS`."""
    return [
        measured.name,
        f"{measured.vocab_size:,}",
        f"{measured.bytes_per_token:.2f}",
        f"{measured.tokens_per_line:.2f}",
        f"{measured.lossless_files} of {measured.num_files}",
        f"{measured.megabytes_per_second:.1f}",
        f"{100 * measured.same_after_newline:.0f} %",
        f"{100 * measured.same_after_indentation:.0f} %",
    ]


def comparison(
    peers: Sequence[Peer], figures: Sequence[Measured], name: str, text: str, corpus: str
) -> str:
    """The page: the table of ``figures`` over ``corpus``, then ``text``, a file called ``name``,
    as each of ``peers`` cuts it.
    """
    lines = text.splitlines(keepends=True)
    shown = "".join(lines[:MAX_SHOWN_LINES])
    rest = f", its first {MAX_SHOWN_LINES} lines" if len(lines) > MAX_SHOWN_LINES else ""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row(each)) + "</tr>"
        for each in figures
    )
    parts = []
    for peer in peers:
        ids = peer.encode(shown)
        parts.append(
            f"<h2>{html.escape(peer.name)}: {len(ids):,} tokens</h2>"
            f'<pre class="scroll">{"".join(_spans(ids, token_bytes(peer.core)))}</pre>'
        )
    title = "Tokenizers on the same Python"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"<p>Figures over {html.escape(corpus)}. Lossless: files that come back byte for byte. "
        "MB/s: the tokenizers library on one thread. Same after newline, after indentation: "
        "prompts that end there and have the ids that the whole file begins with.</p>"
        f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
        f"<p>Below: <code>{html.escape(name)}</code>{rest}. A colour is a token; hovering says "
        "its bytes and its id.</p>"
        f"{''.join(parts)}</body></html>\n"
    )


def _spans(ids: Sequence[int], table: Sequence[bytes]) -> Iterator[str]:
    """A span a token; tokens that divide a character share one."""
    waiting: list[int] = []
    for number, i in enumerate(ids):
        waiting.append(i)
        data = b"".join(table[each] for each in waiting)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if number + 1 < len(ids):
                continue
            text = data.decode(errors="replace")
        title = " ".join(f"{table[each]!r} ({each})"[1:] for each in waiting)
        kind = f"t{number % _COLOURS}"
        yield f'<span class="{kind}" title="{html.escape(title)}">{_visible(text)}</span>'
        waiting = []


def _visible(text: str) -> str:
    """White space with a sign of its own; characters that draw nothing by their number."""
    signs = {" ": "<i>·</i>", "\t": "<i>→</i>\t", "\n": "<i>↵</i>\n", "\r": "<i>␍</i>"}
    return "".join(
        signs.get(each)
        or (html.escape(each) if each.isprintable() else f"<i>U+{ord(each):04X}</i>")
        for each in text
    )
