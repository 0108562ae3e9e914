"""The corpus section of the report: documents kept and dropped, by reason and by source.

Everything comes from ``corpus/report.json``. This module must not read files.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from codeling.quantity import quantity
from codeling.report.page import short_bytes

MAX_SOURCES = 30
"""Rows of the table of sources; the last row sums up the others."""

Values = Mapping[str, Any]


class Table(NamedTuple):
    """Arguments of the macro ``table``."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    numbers: Sequence[int] = ()
    optional: Sequence[int] = ()
    bars: Sequence[tuple[str, float]] = ()


def totals(report: Values) -> str:
    """The documents found and kept, in a sentence."""
    values = report["totals"]
    sentence = (
        f"{quantity(values['files_found'], 'file')} and {short_bytes(values['bytes_found'])} "
        "found; "
        f"{quantity(values['files'], 'file')} and {short_bytes(values['bytes'])} kept, with "
        f"{quantity(values['functions'], 'function')}."
    )
    keywords = report.get("keywords")  # missing in the reports of version 0.1.0
    return f"{sentence} {hit_rate(keywords)}." if keywords else sentence


def hit_rate(values: Values) -> str:
    """The share of the files that contain a keyword, regardless of other filters, in a sentence.

    ``values`` is the report's entry ``keywords``.
    """
    *words, last = values["words"]
    listed = f"{', '.join(words)} or {last}" if words else last
    hits, searched = values["files_with_keyword"], values["files_searched"]
    verb = ("name" if values["rule"] == "text" else "import") + ("s" if hits == 1 else "")
    share = 100 * hits / max(1, searched)
    return f"{hits:,} of {quantity(searched, 'file')} ({share:.2f} %) {verb} {listed}"


def splits(report: Values) -> Table:
    """One row per split, the largest first."""
    rows = [
        [
            name,
            f"{values['repositories']:,}",
            f"{values['files']:,}",
            short_bytes(values["bytes"]),
            f"{values['functions']:,}",
            _percent(values.get("shared_with_train")),
        ]
        for name, values in sorted(report["splits"].items(), key=lambda item: -item[1]["bytes"])
    ]
    head = ["split", "repositories", "files", "bytes", "functions", "shared with train"]
    return Table(head, rows, caption="By split", numbers=range(1, 6))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def dropped_files(report: Values) -> Table | None:
    """One row per drop reason, with its share of all bytes found."""
    found = max(1, report["totals"]["bytes_found"])
    return _dropped(report["files_dropped"], "files", "Files dropped", found)


def dropped_functions(report: Values) -> Table | None:
    """One row per drop reason."""
    return _dropped(report["functions_dropped"], "functions", "Functions dropped", None)


def _dropped(
    drops: Mapping[str, Values], what: str, caption: str, found: int | None
) -> Table | None:
    if not drops:
        return None
    in_order = sorted(drops.items(), key=lambda item: (-item[1]["bytes"], -item[1][what], item[0]))
    most = max(1, in_order[0][1]["bytes"])
    rows = []
    for reason, values in in_order:
        row = [reason.replace("_", " "), f"{values[what]:,}", short_bytes(values["bytes"])]
        if found:
            share = 100 * values["bytes"] / found
            row.append("< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %")
        rows.append(row)
    bars = [("dropped", values["bytes"] / most) for _, values in in_order]
    head = ["reason", what, "bytes", *(["of all"] if found else [])]
    return Table(head, rows, caption=caption, numbers=range(1, len(head)), bars=bars)


def sources(report: Values) -> Table | None:
    """One row per repository with something kept, the largest first."""
    kept = sorted(
        (source for source in map(_documents, report["sources"]) if source["bytes"]),
        key=lambda source: (-source["bytes"], source["repository"]),
    )
    if not kept:
        return None
    rows, bars = [], []
    for source in kept[:MAX_SOURCES]:
        names, license_ = source["splits"], source["license"] or "not known"
        amounts = [f"{source['files']:,}", short_bytes(source["bytes"])]
        rows.append([source["repository"], license_, ", ".join(names), *amounts])
        bars.append((names[0] if len(names) == 1 else "mixed", source["bytes"] / kept[0]["bytes"]))
    if others := kept[MAX_SOURCES:]:
        files, num_bytes = (sum(source[key] for source in others) for key in ("files", "bytes"))
        rows.append([f"{len(others):,} more", "", "", f"{files:,}", short_bytes(num_bytes)])
        bars.append(("mixed", min(1.0, num_bytes / kept[0]["bytes"])))
    head = ["repository", "license", "split", "documents", "bytes"]
    return Table(head, rows, numbers=(3, 4), optional=(1, 3), bars=bars)


def _documents(source: Values) -> Values:
    """A source whose rows were functions, with their counts in the place of files."""
    functions = {"files": source.get("functions", 0), "bytes": source.get("function_bytes", 0)}
    return {**source, **functions} if source.get("functions_found") else source
