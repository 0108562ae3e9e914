"""The same code, cut by several tokenizers, as one self-contained HTML page.

Every token is a coloured span, its neighbour in another colour; hovering says its bytes and id.
White space is visible. Everything shown is escaped, nothing is loaded from elsewhere and no
script runs. This module must not know how the figures were measured.
"""

from collections.abc import Iterator, Sequence

from codeling.report.page import escape, frame, table
from codeling.tokenizer.measure import Measured, Peer
from codeling.tokenizer.tokenizer import token_bytes

MAX_SHOWN_LINES = 60

_COLOURS = 6
_STYLE = """<style>
pre.cut { line-height: 1.75; overflow-x: auto; }
pre.cut span { border-radius: 3px; padding: 1.5px 0; color: light-dark(#1d1f21, #e6e6e3); }
pre.cut i { font-style: normal; opacity: .35; }
pre.cut span:hover { outline: 2px solid currentColor; }
.t0 { background: light-dark(#cfe6ff, #17405f); } .t1 { background: light-dark(#ffe2b8, #5b3d0b); }
.t2 { background: light-dark(#d4f1cf, #1f4a23); } .t3 { background: light-dark(#f7d3e6, #56233f); }
.t4 { background: light-dark(#e2dbfb, #3b3066); } .t5 { background: light-dark(#f3efa9, #494508); }
</style>"""

COLUMNS = (
    "tokenizer", "entries", "bytes a token", "tokens a line", "lossless", "MB/s",
    "after newline", "indented", "healed",
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
        f"{100 * measured.same_healed:.0f} %",
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
    figures_table = table(COLUMNS, [row(each) for each in figures], numbers=range(1, len(COLUMNS)))
    explained = (
        "<p>Lossless: files that come back byte for byte. MB/s: the tokenizers library on one "
        "thread. After newline, indented: prompts that end before a line, and behind its "
        "indentation, and have the ids that the whole file begins with. Healed: those prompts, "
        "their last tokens taken off where a longer one may stand.</p>"
    )
    sections = [("figures", "Figures", _STYLE + figures_table + explained)]
    for number, peer in enumerate(peers):
        ids = peer.encode(shown)
        cut = "".join(_spans(ids, token_bytes(peer.core)))
        title = f"{peer.name}: {len(ids):,} tokens"
        sections.append((f"cut-{number}", title, f'<pre class="cut">{cut}</pre>'))
    return frame(
        kind="comparison of tokenizers",
        name=corpus,
        summary=f"Below the figures: {name}{rest}. A colour is a token; hovering says its bytes "
        "and its id.",
        sections=sections,
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
        yield f'<span class="{kind}" title="{escape(title)}">{_visible(text)}</span>'
        waiting = []


def _visible(text: str) -> str:
    """White space with a sign of its own; characters that draw nothing by their number."""
    signs = {" ": "<i>·</i>", "\t": "<i>→</i>\t", "\n": "<i>↵</i>\n", "\r": "<i>␍</i>"}
    return "".join(
        signs.get(each) or (escape(each) if each.isprintable() else f"<i>U+{ord(each):04X}</i>")
        for each in text
    )
