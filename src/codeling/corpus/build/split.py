"""Assigns documents to train, validation and test: whole repositories where that is possible.

Repositories are ordered by a hash of the seed and their project names (without the version, so an
upgraded package stays where it is). In this order each goes to test if it fits into the rest of
that share of the bytes, else to validation if it fits there, else to train; so a repository larger
than a share always trains. Where this leaves a split empty, single files are split instead: the
first by number in the order of their hashes, independently of their sizes. Pure functions.

CodeSearchNet's description promises a split by repository, but its files are split by file; this
split keeps the promise.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from codeling.quantity import quantity

REPOSITORY_RULE = (
    "projects are sorted by SHA-256(seed:project); each goes to test while its share of the bytes "
    "has room, then to validation, then to train"
)
FILE_RULE = (
    "files are sorted by SHA-256(seed:project/path); the first go to test, the next to validation, "
    "the rest to train, each split by its share of the number of files"
)
PUBLISHED_RULE = "as published"
_MIN_PROJECTS = 3


@dataclass(frozen=True)
class Assignment:
    """The split of every document, and how it was found."""

    by: Literal["repository", "file"]
    rule: str
    """The rule that was used; for files also why."""
    splits: tuple[str, ...]
    """(N,): ``train``, ``validation`` or ``test``."""


def assign(
    projects: Sequence[str],
    sizes: Sequence[int],
    paths: Callable[[], Sequence[str]],
    validation_share: float,
    test_share: float,
    seed: int,
    linked: Iterable[tuple[str, str]] = (),
) -> Assignment:
    """Split N documents, given by project and bytes (> 0); the shares sum to less than 1.

    ``paths`` returns the N paths; it is called only for a split by file. Projects in one pair of
    ``linked`` (a fork and its origin) go to the same split.
    """
    shares = {"test": test_share, "validation": validation_share}
    group_of = _groups(set(projects), linked)
    group_sizes: dict[str, int] = {}
    for project, num_bytes in zip(projects, sizes, strict=True):
        group = group_of[project]
        group_sizes[group] = group_sizes.get(group, 0) + num_bytes
    if len(group_sizes) < _MIN_PROJECTS:
        number = quantity(len(group_sizes), "project")
        reason = f"{number} cannot fill three splits"
    else:
        by_group = _fill_shares(group_sizes, shares, seed)
        wanted = [name for name, share in shares.items() if share > 0] + ["train"]
        empty = [name for name in wanted if name not in by_group.values()]
        if not empty:
            splits = tuple(by_group[group_of[project]] for project in projects)
            return Assignment("repository", REPOSITORY_RULE, splits)
        reason = f"no project of {len(group_sizes)} fits into {' or '.join(empty)}"
    names = [f"{project}/{path}" for project, path in zip(projects, paths(), strict=True)]
    by_file = _split_by_number(set(names), shares, seed)
    rule = f"{FILE_RULE}; by file because {reason}"
    return Assignment("file", rule, tuple(by_file[name] for name in names))


def _groups(projects: set[str], linked: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each project to the first name among all projects linked with it."""
    leader = {project: project for project in projects}

    def find(project: str) -> str:
        while leader[project] != project:
            leader[project] = leader[leader[project]]
            project = leader[project]
        return project

    for one, other in linked:
        if one in leader and other in leader:
            first, second = sorted((find(one), find(other)))
            leader[second] = first
    return {project: find(project) for project in projects}


def _fill_shares(
    sizes: Mapping[str, int], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    total = sum(sizes.values())
    left = {name: share * total for name, share in shares.items()}
    chosen = {}
    for name in sorted(sizes, key=lambda name: _hash(seed, name)):
        split = next((s for s, num_bytes in left.items() if sizes[name] <= num_bytes), "train")
        if split != "train":
            left[split] -= sizes[name]
        chosen[name] = split
    return chosen


def _split_by_number(names: set[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Give each wanted split its share of the number of files, at least one; train keeps one."""
    order = sorted(names, key=lambda name: _hash(seed, name))
    wanted = [split for split, share in shares.items() if share > 0]
    chosen = dict.fromkeys(order, "train")
    start = 0
    for i, split in enumerate(wanted):
        available = len(order) - start - 1
        reserved = min(len(wanted) - i - 1, max(0, available - 1))
        number = min(max(1, round(shares[split] * len(order))), available - reserved)
        chosen.update(dict.fromkeys(order[start : start + number], split))
        start += number
    return chosen


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
