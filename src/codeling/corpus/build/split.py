"""Which documents train, which validate, which test: whole repositories, never parts of one.

The order of the repositories is drawn from the seed and their project names alone (no
version, so upgrading a package does not move it). In that order each goes to the test split
where it still fits into its share of the bytes, else to validation where it fits there, else
to train; one larger than a share therefore always trains. Where that leaves a wanted split
empty (too few or too large repositories) the same rule is applied to single files, and a
split that is still empty is given one. Pure functions, nothing read.

CodeSearchNet's description promises a split by repository and its files are split by file;
this one keeps the promise.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

RULE = (
    "projects in the order of SHA-256(seed, name); each to test, then validation, while it "
    "fits into the share of the bytes kept, else to train"
)


@dataclass(frozen=True)
class Assignment:
    """The split of every file, and what was held together."""

    by: Literal["repository", "file"]
    splits: tuple[str, ...]
    """``train``, ``validation`` or ``test``, one a file."""


def assign(
    projects: Sequence[str],
    sizes: Sequence[int],
    paths: Callable[[], Sequence[str]],
    validation_share: float,
    test_share: float,
    seed: int,
    together: Iterable[tuple[str, str]] = (),
) -> Assignment:
    """Split N files given by project and bytes (> 0); the shares sum to less than 1.

    ``paths`` gives their paths, and is called where single files are split alone. Projects that
    stand in one pair of ``together`` (a fork and what it came from) go to one side.
    """
    shares = {"test": test_share, "validation": validation_share}
    group_of = _groups(set(projects), together)
    of_group: dict[str, int] = {}
    for project, num_bytes in zip(projects, sizes, strict=True):
        group = group_of[project]
        of_group[group] = of_group.get(group, 0) + num_bytes
    if len(of_group) >= 3:
        by_group = _fill(of_group, shares, seed)
        wanted = {"train", *(name for name, share in shares.items() if share > 0)}
        if wanted <= set(by_group.values()):
            return Assignment("repository", tuple(by_group[group_of[p]] for p in projects))
    names = [f"{project}/{path}" for project, path in zip(projects, paths(), strict=True)]
    of_file = dict.fromkeys(names, 0)
    for name, num_bytes in zip(names, sizes, strict=True):
        of_file[name] += num_bytes
    by_file = _fill(of_file, shares, seed)
    _give_each_one(by_file, shares, seed)
    return Assignment("file", tuple(by_file[name] for name in names))


def _groups(projects: set[str], together: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Every project → the first name of all that are held together with it."""
    leader = {project: project for project in projects}

    def find(project: str) -> str:
        while leader[project] != project:
            leader[project] = leader[leader[project]]
            project = leader[project]
        return project

    for one, other in together:
        if one in leader and other in leader:
            first, second = sorted((find(one), find(other)))
            leader[second] = first
    return {project: find(project) for project in projects}


def _fill(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    total = sum(sizes.values())
    room = {name: share * total for name, share in shares.items()}
    chosen = {}
    for name in sorted(sizes, key=lambda name: _draw(seed, name)):
        split = next((s for s, left in room.items() if sizes[name] <= left), "train")
        if split != "train":
            room[split] -= sizes[name]
        chosen[name] = split
    return chosen


def _give_each_one(chosen: dict[str, str], shares: Mapping[str, float], seed: int) -> None:
    """Move one file to every wanted split that is empty, from a split that has more than one."""
    order = sorted(chosen, key=lambda name: _draw(seed, name))
    for split, share in shares.items():
        if share == 0 or split in chosen.values():
            continue
        for donor in ("train", *shares):
            names = [name for name in order if chosen[name] == donor]
            if len(names) > 1:
                chosen[names[0]] = split
                break


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()
