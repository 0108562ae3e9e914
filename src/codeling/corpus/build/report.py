"""Makes ``corpus/report.json``: counts by split, by source and by drop reason.

Every document found is kept or counted under one reason. The report contains no time and no local
path. This module must not read documents or decide about them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codeling.corpus.build import hit_rate
from codeling.corpus.build.assembly import Counts, SourceKey
from codeling.corpus.build.selection import Decisions, Records
from codeling.corpus.build.work_folder import count
from codeling.corpus.document import SPLITS
from codeling.corpus.sources.files import Repository
from codeling.quantity import quantity
from codeling.recipe import CorpusRecipe, RowSource

USEFUL_BYTES = 100_000
"""A smaller validation or test split is reported: bits per byte on it depends on a few files."""
_WHOLE_SHARD_REASONS = {"truncated", "unreadable", "empty_shard"}
_MAX_FILES_SHOWN = 5


@dataclass
class _Found:
    """Counts of the files and functions found in one source."""

    files: int = 0
    num_bytes: int = 0
    functions: int = 0


def report(
    records: Records,
    decisions: Decisions,
    recipe: CorpusRecipe,
    repositories: Mapping[str, Repository],
    counts: Counts,
) -> dict[str, Any]:
    """Return the report. ``repositories`` are the listed ones, in the corpus's order."""
    _count_dropped(records, counts)
    found = _found(records)
    entries: dict[SourceKey, dict[str, Any]] = {
        **{name: _listed(name, repository) for name, repository in repositories.items()},
        **{key: _rows(key, recipe, counts) for key in found if isinstance(key, int)},
    }
    in_splits = _repositories(records, decisions)
    sources = [
        {
            **entry,
            "splits": [s for s in SPLITS if _has(counts, key, s)],
            "files_found": found[key].files,
            "functions_found": found[key].functions,
            "bytes_found": found[key].num_bytes,
            **_kept([counts.files.get((key, s), [0, 0]) for s in SPLITS], "files"),
            **_kept([counts.functions.get((key, s), [0, 0]) for s in SPLITS]),
        }
        for key, entry in entries.items()
    ]
    splits = {
        name: {
            "repositories": in_splits[name],
            **_kept([v for (_, s), v in counts.files.items() if s == name], "files"),
            **_kept([v for (_, s), v in counts.functions.items() if s == name]),
            **_shared(decisions, name),
        }
        for name in SPLITS
    }
    return {
        "format": 1,
        "split_by": decisions.split_by,
        "split_rule": decisions.split_rule,
        "split_seed": recipe.seed,
        "totals": {
            "repositories": in_splits["all"],
            "files_found": sum(each.files for each in found.values()),
            "functions_found": sum(each.functions for each in found.values()),
            "bytes_found": sum(each.num_bytes for each in found.values()),
            **_kept(counts.files.values(), "files"),
            **_kept(counts.functions.values()),
        },
        "splits": splits,
        "files_dropped": _dropped(counts.files_dropped, "files"),
        "functions_dropped": _dropped(counts.functions_dropped, "functions"),
        "redacted": {
            kind: {"number": number, "documents": documents}
            for kind, (number, documents) in sorted(counts.redacted.items())
        },
        "keywords": _keywords(records, recipe),
        "contamination": records.contamination,
        "problems": records.problems,
        "sources": sources,
    }


def _keywords(records: Records, recipe: CorpusRecipe) -> dict[str, Any] | None:
    if not recipe.keywords:
        return None
    searched, hits = (int((records.has_keyword >= least).sum()) for least in (0, 1))
    return hit_rate.summary(recipe, searched, hits)


def table(report: Mapping[str, Any]) -> list[str]:
    """Lines for a terminal: what was kept, what was dropped by reason, and bad input by file."""
    lines = []
    totals = report["totals"]
    for what, num_bytes in (("files", "bytes"), ("functions", "function_bytes")):
        dropped = report[f"{what}_dropped"]
        rows = [("kept", totals[what], totals[num_bytes])]
        rows += [(reason, c[what], c["bytes"]) for reason, c in dropped.items()]
        found = sum(number for _, number, _ in rows)
        if not found:
            continue
        rows[1:] = sorted(rows[1:], key=lambda row: (-row[1], row[0]))
        width = max(len(name) for name, _, _ in rows)
        for name, number, size in rows:
            share = f"{number / found:6.1%}"
            amount, noun = quantity(number, what.removesuffix("s")).split()
            lines.append(f"  {name:<{width}}  {amount:>11} {noun:<9} {share} {_size(size):>9}")
    return lines + [f"  {line}" for line in problem_lines(report["problems"])]


def problem_lines(problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line per file with bad input, those with the most first: what is wrong with it."""
    numbers = Counter(problem["file"] for problem in problems)
    lines = []
    for file, number in numbers.most_common(_MAX_FILES_SHOWN):
        first = next(problem for problem in problems if problem["file"] == file)
        row, detail = first["row"], first["detail"]
        if row is None:
            lines.append(f"{file}: {detail}")
        elif number == 1 and first["reason"] in _WHOLE_SHARD_REASONS:
            lines.append(f"{file}: {first['reason']} at row {row}, the rest is lost ({detail})")
        else:
            rows = quantity(number, "bad row")
            lines.append(f"{file}: {rows}, listed in corpus/report.json (row {row}: {detail})")
    return lines


def split_lines(report: Mapping[str, Any], recipe: CorpusRecipe) -> list[str]:
    """Lines for a terminal: the rule of the split, and a warning for each split too small."""
    lines = [f"split by {report['split_by']}: {report['split_rule']}"]
    if report["split_by"] == "published":
        lines = ["split as published"]
    shared = {name: report["splits"][name]["shared_with_train"] for name in ("validation", "test")}
    of_each = " and ".join(f"{share:.1%} of {name}" for name, share in shared.items())
    lines.append(f"tokens in passages that train has as well: {of_each}")
    for name, share in (("validation", recipe.validation_share), ("test", recipe.test_share)):
        values = report["splits"][name]
        num_bytes = values["bytes"] or values["function_bytes"]
        if name == "test" and not num_bytes and report["split_by"] == "published":
            lines.append("no document is published as test: scores are those of validation")
        elif share > 0 and num_bytes < USEFUL_BYTES:
            lines.append(
                f"warning: the {name} split has only {quantity(num_bytes, 'byte')}, so its scores "
                f"depend on a few files; add sources or raise corpus.{name}_share"
            )
    for name in SPLITS:
        wanted = getattr(recipe.take, name)
        values = report["splits"][name] if wanted else {}
        # Functions taken from files are not documents of their own.
        number = values["files"] or values["functions"] if wanted else 0
        if wanted and number < wanted:
            lines.append(
                f"warning: take.{name} = {wanted:,}, but only {quantity(number, 'document')} "
                f"{'is' if number == 1 else 'are'} left for {name}"
            )
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def dropped_line(records: Records) -> str:
    """One line for an error: the drop reasons with their numbers, and the first bad input."""
    counts = Counts()
    _count_dropped(records, counts)
    both = {**counts.files_dropped}
    for reason, (number, num_bytes) in counts.functions_dropped.items():
        count(both, reason, num_bytes, number)
    reasons = ", ".join(f"{reason} {number}" for reason, (number, _) in sorted(both.items()))
    return "; ".join([reasons, *problem_lines(records.problems)[:1]])


def _count_dropped(records: Records, counts: Counts) -> None:
    sizes = np.where(records.num_bytes > 0, records.num_bytes, records.found_bytes)
    for into, kind in (
        (counts.files_dropped, ~records.is_function),
        (counts.functions_dropped, records.is_function),
    ):
        out = ~records.kept & kind
        numbers = np.bincount(records.reasons[out], minlength=len(records.reason_names))
        of_each = np.bincount(records.reasons[out], sizes[out], minlength=len(records.reason_names))
        for i, reason in enumerate(records.reason_names):
            if numbers[i]:
                count(into, reason, int(of_each[i]), int(numbers[i]))


def _found(records: Records) -> dict[SourceKey, _Found]:
    """Counts of the files and functions found in each listed repository and table source."""
    found: dict[SourceKey, _Found] = {}
    for partition in records.partitions:
        run = slice(records.offsets[partition.number], records.offsets[partition.number + 1])
        sizes = records.found_bytes[run]
        if partition.shard is not None:
            entry = found.setdefault(partition.shard.source, _Found())
            functions = int(records.is_function[run].sum())
            entry.functions += functions
            entry.files += len(sizes) - functions
            entry.num_bytes += int(sizes.sum())
            continue
        names, index = np.unique(records.repositories[run], return_inverse=True)
        for name, number, num_bytes in zip(
            names, np.bincount(index), np.bincount(index, sizes), strict=True
        ):
            entry = found.setdefault(records.repository_names[name], _Found())
            entry.files += int(number)
            entry.num_bytes += int(num_bytes)
    return found


def _repositories(records: Records, decisions: Decisions) -> dict[str, int]:
    """Number of repositories with a kept document: per split, and ``all``."""
    kept = records.kept
    numbers = {
        name: len(np.unique(records.repositories[kept & (decisions.splits == i)]))
        for i, name in enumerate(SPLITS)
    }
    return {**numbers, "all": len(np.unique(records.repositories[kept]))}


def _listed(name: str, repository: Repository) -> dict[str, Any]:
    return {
        "repository": name,
        "project": repository.project,
        "version": repository.version,
        "license": repository.license,
    }


def _rows(number: int, recipe: CorpusRecipe, counts: Counts) -> dict[str, Any]:
    """One entry for a table source, which may hold 100,000s of repositories."""
    source = recipe.sources[number]
    assert isinstance(source, RowSource), "only table sources are counted by index"
    name = source.name or source.kind
    licenses = counts.licenses.get(number, set())
    license_ = next(iter(licenses)) if len(licenses) == 1 else "various" if licenses else "unknown"
    return {"repository": name, "project": name, "version": "", "license": license_}


def _shared(decisions: Decisions, split_name: str) -> dict[str, float]:
    share = decisions.shared_with_train.get(split_name)
    return {} if share is None else {"shared_with_train": round(share, 6)}


def _has(counts: Counts, key: SourceKey, split_name: str) -> bool:
    return (key, split_name) in counts.files or (key, split_name) in counts.functions


def _dropped(counts: Mapping[str, Sequence[int]], what: str) -> dict[str, dict[str, int]]:
    return {
        reason: {what: number, "bytes": num_bytes}
        for reason, (number, num_bytes) in sorted(counts.items())
    }


def _kept(values: Iterable[Sequence[int]], what: str = "functions") -> dict[str, int]:
    both = list(values)
    num_bytes = "bytes" if what == "files" else "function_bytes"
    return {what: sum(v[0] for v in both), num_bytes: sum(v[1] for v in both)}
