"""Balances repositories in a run that is too short to read every chunk.

If one repository had half of the text, a short run would learn that repository. So repository r
gets a share of the run in proportion to n_r ** exponent, where n_r is its number of tokens, but at
most n_r. The longer the run, the closer it is to reading everything. Nothing is read twice before
everything has been read once. Source of the exponent: Conneau and Lample 2019 (languages of unequal
size, 0.5 and 0.7); its effect here is in ``docs/results.md``.

Documents are in corpus order, so those of one repository are adjacent and their repositories are
stored as runs: ``[["torch==2.13.0", 2187], ...]``. This module must not know what a chunk contains.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codeling.errors import InputError
from codeling.manifest import write_json


class HasRepository(Protocol):
    """A text of a repository; :class:`codeling.corpus.document.Document` is one."""

    @property
    def repository(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102


class RepositoryRecorder:
    """Records the repository of each document that passes through it."""

    def __init__(self) -> None:
        """Start without documents."""
        self.runs: list[tuple[str, int]] = []

    def texts(self, documents: Iterable[HasRepository]) -> Iterator[str]:
        """Yield the texts of ``documents`` and record their repositories."""
        for document in documents:
            repository = document.repository
            if not self.runs or self.runs[-1][0] != repository:
                self.runs.append((repository, 0))
            self.runs[-1] = (repository, self.runs[-1][1] + 1)
            yield document.text

    def write(self, path: Path) -> None:
        """Write ``tokens/NAME.json``. :raises StorageError: the file cannot be written."""
        write_json(path, {"format": 1, "runs": [list(run) for run in self.runs]})


def read_repository_numbers(path: Path) -> NDArray[np.int64]:
    """Number of each document's repository, (D,), by first appearance.

    :raises InputError: the file is missing or damaged.
    """
    try:
        runs = json.loads(path.read_bytes())["runs"]
        numbers = {name: number for number, name in enumerate(dict(runs))}
        return np.repeat([numbers[name] for name, _ in runs], [count for _, count in runs])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a list of repositories") from error


def balanced_first(
    order: NDArray[np.int64],
    owners: NDArray[np.int64],
    lengths: NDArray[np.int64],
    tokens: int,
    exponent: float,
) -> NDArray[np.int64]:
    """Move the chunks that a run of ``tokens`` reads to the front of ``order``, balanced.

    ``order`` (S,) is a permutation of the chunks; ``owners`` (S,) and ``lengths`` (S,) give the
    repository and the tokens of each chunk. Both groups keep their order. If ``tokens`` suffices
    for all chunks, ``order`` is returned unchanged.
    """
    if tokens >= lengths.sum():
        return order
    totals = np.bincount(owners, lengths).astype(np.float64)
    shares = quotas(totals, tokens, exponent)
    by_owner = np.argsort(owners[order], kind="stable")
    chunks = order[by_owner]
    before = np.cumsum(lengths[chunks]) - lengths[chunks]
    own = owners[chunks]
    before -= (np.cumsum(totals) - totals)[own].astype(np.int64)
    chosen = np.empty(len(order), dtype=bool)
    chosen[by_owner] = before < shares[own]
    return np.concatenate([order[chosen], order[~chosen]])


def quotas(totals: NDArray[np.float64], tokens: int, exponent: float) -> NDArray[np.float64]:
    """Tokens to read of each repository: min(total, k × total ** exponent), in sum ``tokens``.

    If ``tokens`` is at least the sum of ``totals`` (R,), that is ``totals``.
    """
    weights = np.where(totals > 0, np.maximum(totals, 1.0) ** exponent, 0.0)
    given = np.zeros_like(weights)
    left = float(tokens)
    while left > 0.5 and (open_ := weights * (given < totals)).any():
        part = np.minimum(totals - given, left * open_ / open_.sum())
        given += part
        left -= float(part.sum())
    return given
