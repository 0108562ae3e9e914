"""The token files of an adaptation: the project's files several times, and old text to replay.

Replay keeps what the model knew (Robins 1995, "Catastrophic forgetting, rehearsal and
pseudorehearsal"). The loader's mixture gives both parts their shares of the run: they are written
as several repositories of equal weight. Old documents are drawn from the token file of the run that
the model came from, each repository in proportion to the square root of its size, as that run read
them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeling.adaptation.project_texts import Project
from codeling.dataset.mixture import RepositoryRecorder, read_repository_numbers
from codeling.dataset.tokens import open_tokens, write_tokens
from codeling.errors import InputError
from codeling.progress import SILENT, Progress
from codeling.run_folder import RunFolder
from codeling.tokenizer.tokenizer import Tokenizer

REPLAY = 0.5
"""Default share of the run that is old text; other values are in ``docs/log.md``."""
_MAX_SHARES = 20
"""Maximum number of equal shares that the run is divided into."""
MAX_PASSES = 24
"""Maximum number of times that the project's files are read."""
MAX_REPLAY_TOKENS = 8_000_000
"""Maximum number of old tokens that are written."""
_OLD_EXPONENT = 0.5


@dataclass(frozen=True)
class _Document:
    repository: str
    text: str


def write_token_files(
    project: Project,
    tokenizer: Tokenizer,
    base: RunFolder | None,
    folder: Path,
    seed: int,
    replay: float = REPLAY,
    progress: Progress = SILENT,
) -> int:
    """Write ``train`` and ``validation`` to ``folder``; returns the number of replayed documents.

    ``base`` is the run that the model came from. ``replay`` is the share of old text in the run,
    to a twentieth.

    :raises StorageError: a file cannot be written.
    """
    replayed = 0

    def documents() -> Iterator[_Document]:
        nonlocal replayed
        share = Fraction(replay).limit_denominator(_MAX_SHARES)
        old, own = share.numerator, share.denominator - share.numerator
        for number, file in enumerate(project.train * MAX_PASSES):
            yield _Document(f"project {number % own}", file.text)
        for number, text in enumerate(old_texts(base, tokenizer, seed) if old else ()):
            replayed += 1
            yield _Document(f"old {number % old}", text)

    recorder = RepositoryRecorder()
    write_tokens(recorder.texts(documents()), tokenizer, folder / "train.bin", progress)
    recorder.write(folder / "train.json")
    held_out = (file.text for file in project.held_out)
    write_tokens(held_out, tokenizer, folder / "validation.bin", progress)
    return replayed


def old_texts(base: RunFolder | None, tokenizer: Tokenizer, seed: int) -> Iterator[str]:
    """Documents that the model was trained on, in random order; none without its token file."""
    if base is None:
        return
    try:
        own = Tokenizer.load(base.tokenizer)
        tokens = open_tokens(base.path / "tokens" / "train.bin")
        owners = read_repository_numbers(base.path / "tokens" / "train.json")
    except InputError:
        return
    lengths: NDArray[np.int64] = np.diff(tokens.offsets.astype(np.int64))  # type: ignore[assignment]
    taken = 0
    for number in balanced_order(owners, lengths, seed).tolist():
        if taken >= MAX_REPLAY_TOKENS:
            return
        taken += int(lengths[number])
        yield own.decode(tokens.document(number).tolist())


def balanced_order(
    owners: NDArray[np.int64], lengths: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """A random order of documents (D,) in which a repository's weight grows with the root of its
    tokens (weighted sampling without replacement: Efraimidis and Spirakis 2006).
    """
    totals = np.maximum(np.bincount(owners, lengths), 1.0)
    weights = totals[owners] ** (_OLD_EXPONENT - 1)
    keys = np.random.default_rng(seed).exponential(size=len(owners)) / weights
    order: NDArray[np.int64] = np.argsort(keys, kind="stable")
    return order
