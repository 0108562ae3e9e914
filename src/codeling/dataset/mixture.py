"""Which chunks a run sees that is too short for all of them: repositories in balance.

Of a corpus in which one repository has half of the text, a short run would learn that
repository. So of what it reads repository r gets a share in proportion to n_r ** exponent, n_r
its tokens, as far as it has them; the fuller the run's time, the nearer to all of it. Nothing is
read twice before all has been read once. Source of the exponent: Conneau and Lample 2019
(languages of unequal size, 0.5 and 0.7); what it brings here is in ``docs/results.md``.

Documents stand in the corpus's order, a repository's next to one another, so who owns them is
kept as runs: ``[["torch==2.13.0", 2187], ...]``. This module must not know what a chunk holds.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codeling.errors import InputError
from codeling.manifest import write_json


class Owned(Protocol):
    """A text of a repository (:class:`codeling.corpus.document.Document` is one)."""

    @property
    def repository(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102


class Owners:
    """Notes whose the documents are that are read through it."""

    def __init__(self) -> None:
        """Of no documents yet."""
        self.runs: list[tuple[str, int]] = []

    def texts(self, documents: Iterable[Owned]) -> Iterator[str]:
        """The texts of ``documents``, noted as they are taken."""
        for document in documents:
            repository = document.repository
            if not self.runs or self.runs[-1][0] != repository:
                self.runs.append((repository, 0))
            self.runs[-1] = (repository, self.runs[-1][1] + 1)
            yield document.text

    def write(self, path: Path) -> None:
        """Write ``tokens/NAME.json``. :raises StorageError: it cannot be written."""
        write_json(path, {"format": 1, "runs": [list(run) for run in self.runs]})


def read_owners(path: Path) -> NDArray[np.int64]:
    """The number of every document's repository, in order of first appearance.

    :raises InputError: the file is missing or is none of these.
    """
    try:
        runs = json.loads(path.read_bytes())["runs"]
        numbers = {name: number for number, name in enumerate(dict(runs))}
        return np.repeat([numbers[name] for name, _ in runs], [count for _, count in runs])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: does not say which documents are whose") from error


def balanced_first(
    order: NDArray[np.int64],
    owners: NDArray[np.int64],
    lengths: NDArray[np.int64],
    tokens: int,
    exponent: float,
) -> NDArray[np.int64]:
    """``order`` with the chunks that a run of ``tokens`` reads in front, balanced.

    ``order`` (S,) is a permutation of the chunks, ``owners`` (S,) and ``lengths`` (S,) are
    theirs by number. Those in front and the others both stay in the order that they had. Where
    ``tokens`` is enough for all, that is ``order`` itself.
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
    """Tokens that each owner gives: min(total, k × total ** exponent), ``tokens`` together.

    All of them where ``tokens`` is not less than the sum of ``totals``.
    """
    wanted = np.where(totals > 0, np.maximum(totals, 1.0) ** exponent, 0.0)
    given = np.zeros_like(wanted)
    left = float(tokens)
    while left > 0.5 and (open_ := wanted * (given < totals)).any():
        part = np.minimum(totals - given, left * open_ / open_.sum())
        given += part
        left -= float(part.sum())
    return given
