"""An HTML page that shows the same code split by several tokenizers.

Every token is a coloured span; hovering shows its bytes and its id. White space is visible. This
module must not know how the figures were measured.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from codeling.quantity import quantity
from codeling.report.page import PageSection, frame, macros
from codeling.tokenizer.measure import Measured, NamedTokenizer
from codeling.tokenizer.tokenizer import token_bytes

MAX_SHOWN_LINES = 60

COLUMNS = (
    "tokenizer", "entries", "bytes per token", "tokens per line", "lossless", "MB/s",
    "after newline", "indented", "healed",
)  # fmt: skip

_TEMPLATE = Path(__file__).with_name("comparison.html")
_NUM_COLOURS = 6
_SYMBOLS = {" ": ("·", ""), "\t": ("→", "\t"), "\n": ("↵", "\n"), "\r": ("␍", "")}

_Part = tuple[str, str]
"""A symbol for a character that draws nothing, or "", and the text after it."""


def figures_row(measured: Measured) -> list[str]:
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


def comparison_page(
    peers: Sequence[NamedTokenizer], figures: Sequence[Measured], name: str, text: str, corpus: str
) -> str:
    """The page as HTML: a table of ``figures``, then ``text`` split by each of ``peers``.

    ``corpus`` describes what the figures were measured on; ``name`` is the file name of ``text``,
    of which :data:`MAX_SHOWN_LINES` lines are shown.
    """
    lines = text.splitlines(keepends=True)
    shown = "".join(lines[:MAX_SHOWN_LINES])
    part = f"the first {MAX_SHOWN_LINES} lines of " if len(lines) > MAX_SHOWN_LINES else ""
    template = macros(_TEMPLATE)
    rows = [figures_row(measured) for measured in figures]
    sections = [PageSection("figures", "Figures", template.figures(COLUMNS, rows))]
    for number, peer in enumerate(peers):
        ids = peer.encode(shown)
        spans = _spans(ids, token_bytes(peer.core))
        title = f"{peer.name}: {quantity(len(ids), 'token')}"
        sections.append(PageSection(f"cut-{number}", title, template.tokens(spans)))
    return frame(
        kind="comparison of tokenizers",
        name=corpus,
        summary=f"Below the figures: {part}{name}. Each colour is one token; hover over a token to "
        "see its bytes and its id.",
        sections=sections,
    )


def _spans(ids: Sequence[int], pieces: Sequence[bytes]) -> Iterator[tuple[str, str, list[_Part]]]:
    """(colour class, hover text, parts) of each token.

    Tokens that share the bytes of one character share one span.
    """
    pending: list[int] = []
    for number, token in enumerate(ids):
        pending.append(token)
        data = b"".join(pieces[each] for each in pending)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if number + 1 < len(ids):
                continue
            text = data.decode(errors="replace")
        title = " ".join(f"{pieces[each]!r} ({each})"[1:] for each in pending)
        yield f"t{number % _NUM_COLOURS}", title, list(_parts(text))
        pending = []


def _parts(text: str) -> Iterator[_Part]:
    """``text`` with a symbol for each character that draws nothing."""
    for is_drawn, group in groupby(text, lambda each: each.isprintable() and each != " "):
        if is_drawn:
            yield "", "".join(group)
        else:
            yield from (_SYMBOLS.get(each, (f"U+{ord(each):04X}", "")) for each in group)
