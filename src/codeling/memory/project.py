"""Memory of the other files of a project: what followed each context in them.

Files are read in the background, the nearest to the open file first if not all fit; the nearest
count as the newest. While requests arrive, the folder is scanned again: a saved file replaces its
earlier version, whichever program saved it, and a removed one is dropped. Memory is bounded by a
number of tokens. Nothing is written. This module must not know which file the tokens of a history
belong to.
"""

import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeling.errors import UsageError
from codeling.memory.chain_kernels import DEAD
from codeling.memory.chains import Chains, Predictor, Tokens
from codeling.memory.project_files import list_files, nearest_first, read_text
from codeling.memory.source import Floats, Ids, Proposal, Scores
from codeling.tokenizer.encoders import Encoder, choose_encoder, reference_encoder
from codeling.tokenizer.tokenizer import Tokenizer

ORDERS = np.array([1, 2, 6])
"""Context lengths that have chains; fewer than for a document, to save memory."""

LIMIT = 128
"""Number of the newest positions that are visited for each of :data:`ORDERS`."""

MAX_TOKENS = 8_000_000
"""Tokens of a project that are kept, about 25 MB of Python with a small vocabulary. They take
about 45 bytes each."""

LOOK_SECONDS = 1.0
"""Minimum time between two scans of the folder."""
_REST = 20
"""Scanning takes at most one part in this many of the time."""
_MAX_TAKEN = 20_000
"""Tokens of changed files that one request takes, about 20 ms; the rest waits for the next."""

_MIN_DEAD = 10_000
"""Tokens of removed files that are always kept."""
_BATCH_BYTES = 2_000_000
_FAST_FROM_BYTES = 2_000_000
"""A smaller project is encoded faster than the fast encoder is verified."""


def project_predictor(trust: Floats, vocab_size: int) -> Predictor:
    """The predictor of projects."""
    return Predictor(trust, vocab_size, ORDERS, LIMIT)


class FixedProject:
    """Memory of files that do not change, for measurements. It does not record places."""

    def __init__(self, trust: Floats, vocab_size: int, files: Chains) -> None:
        """``files`` are the tokens of all files, each after ``<|endoftext|>``, the nearest last."""
        self._predictor = project_predictor(trust, vocab_size)
        self._files = files

    def propose(self, history: Ids) -> Proposal:
        """Propose the token after ``history`` (N,)."""
        return self._predictor.propose_after(history, self._files)

    def score(self, ids: Ids) -> Scores:
        """:meth:`propose` at each position of a document, ``ids`` (T + 1,)."""
        return self._predictor.score(ids, self._files)

    def places(self, history: Ids, token: int) -> list[tuple[str, int, int]]:
        """No places: they are not recorded."""
        return []

    def refresh(self) -> None:
        """Nothing changed."""


class ProjectMemory:
    """Proposals from the files of one folder. Several threads may use it."""

    def __init__(
        self,
        root: Path,
        tokenizer: Tokenizer,
        trust: Floats,
        *,
        open_path: Path | None = None,
        open_text: str = "",
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """Start to read the files below ``root``, but not ``open_path``, relative to it.

        :raises UsageError: ``root`` is not a folder that can be read.
        """
        self.root = root
        self._tokenizer = tokenizer
        self._predictor = project_predictor(trust, tokenizer.vocab_size)
        self._line_feeds = np.array([each.count(b"\n") for each in tokenizer.token_bytes])
        self._max_tokens = max_tokens
        self._files = _Files()
        self._encoder: Encoder | None = None
        """The verified fast encoder, if the project is large."""
        self._read: _Files | None = None
        self._is_read = False
        self._lock = threading.RLock()
        found = [file for file in list_files(root) if file.path != open_path]
        self._open_path = open_path
        self._seen = {file.path: file for file in found}
        """Files as of the last scan."""
        self._changed: deque[tuple[Path, Tokens | None]] = deque()
        """What was read since, and is not taken yet."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        paths = [file.path for file in nearest_first(found, open_path, open_text)]
        self._reader = threading.Thread(target=self._read_all, args=(paths,), daemon=True)
        self._reader.start()

    def wait(self) -> None:
        """Wait until what is being read has been read."""
        self._reader.join()
        self._take()

    def refresh(self) -> None:
        """Take the changes found on disk, and scan again in the background.

        It scans at most once in :data:`LOOK_SECONDS`, and takes 20,000 tokens at a time.
        """
        self._take()
        with self._lock:
            num_tokens = 0
            while self._changed and num_tokens < _MAX_TAKEN:
                path, tokens = self._changed.popleft()
                self._replace(path, tokens)
                num_tokens += 0 if tokens is None else len(tokens)
            if not self._reader.is_alive() and time.monotonic() >= self._next_look:
                self._reader = threading.Thread(target=self._look, daemon=True)
                self._reader.start()

    @property
    def num_files(self) -> int:
        """Number of files known now."""
        self._take()
        return len(self._files.spans)

    @property
    def num_tokens(self) -> int:
        """Number of tokens known now."""
        self._take()
        return self._files.num_alive

    def _replace(self, path: Path, tokens: Tokens | None) -> None:
        self._files.replace(path, tokens)
        self._files.forget_oldest(self._max_tokens)
        self._files = self._files.compact()

    def propose(self, history: Ids) -> Proposal:
        """Propose the token after ``history`` (N,)."""
        self._take()
        with self._lock:
            return self._predictor.propose_after(history, self._files.chains)

    def score(self, ids: Ids) -> Scores:
        """:meth:`propose` at each position of a document, ``ids`` (T + 1,)."""
        self._take()
        with self._lock:
            return self._predictor.score(ids, self._files.chains)

    def places(self, history: Ids, token: int) -> list[tuple[str, int, int]]:
        """Places of ``token`` that the proposal is based on, the best first.

        Path of the file, position, and line in the file, from 1.
        """
        asked = self._predictor.hashed(history)
        with self._lock:
            chains = self._files.chains
            found = self._predictor.places(asked.ids, asked.prefix, chains, token)
            return [self._locate(place) for place in found]

    def _locate(self, place: int) -> tuple[str, int, int]:
        path, first = self._files.at(place)
        passed = self._files.chains.ids[first:place]
        return path.as_posix(), place, 1 + int(self._line_feeds[passed[1:]].sum())

    def _encode_one(self, text: str) -> Tokens:
        encoder = self._encoder or reference_encoder(self._tokenizer)
        return self._document(encoder.encode([text]).ids)

    def _document(self, ids: NDArray[Any]) -> Tokens:
        """Ids after ``<|endoftext|>``."""
        tokens = np.empty(len(ids) + 1, np.int32)
        tokens[0], tokens[1:] = self._tokenizer.end_of_text, ids
        return tokens

    def _take(self) -> None:
        """Use what the reader has read, once it is done."""
        if self._is_read or self._reader.is_alive():
            return
        with self._lock:
            if self._read is not None:  # else another thread took it, or the reader failed
                self._files, self._read = self._read, None
            self._is_read = True

    def _look(self) -> None:
        """Read the files that were saved or added since the last scan. Runs in the background."""
        begin = time.monotonic()
        try:
            found = {file.path: file for file in list_files(self.root)}
        except UsageError:  # the folder is gone
            found = {}
        found.pop(self._open_path or Path(), None)
        for path, file in found.items():
            if self._seen.get(path) != file:
                text = read_text(self.root / path)
                self._changed.append((path, None if text is None else self._encode_one(text)))
        self._changed.extend((path, None) for path in self._seen.keys() - found.keys())
        self._seen = found
        end = time.monotonic()
        self._next_look = end + max(LOOK_SECONDS, _REST * (end - begin))

    def _read_all(self, paths: Sequence[Path]) -> None:
        """Read ``paths``, the nearest first, as long as there is room. Runs in the background."""
        found: list[tuple[Path, Tokens]] = []
        batch: list[tuple[Path, str]] = []
        num_tokens = num_bytes = 0
        for number, path in enumerate(paths):
            text = read_text(self.root / path)
            if text is not None:
                batch.append((path, text))
                num_bytes += len(text)
            if (num_bytes < _BATCH_BYTES and number + 1 < len(paths)) or not batch:
                continue
            texts = [text for _, text in batch]
            if num_bytes >= _FAST_FROM_BYTES and self._encoder is None:
                self._encoder = choose_encoder(self._tokenizer, texts)[0]
            encoded = (self._encoder or reference_encoder(self._tokenizer)).encode(texts)
            for index, (of_file, _) in enumerate(batch):
                ids = encoded.text_ids(index)
                if num_tokens + len(ids) + 1 <= self._max_tokens:
                    found.append((of_file, self._document(ids)))
                    num_tokens += len(ids) + 1
            batch, num_bytes = [], 0
        files = _Files(num_tokens)
        for path, tokens in reversed(found):  # the newest positions are visited first
            files.replace(path, tokens)
        self._read = files


class _Files:
    """The tokens of several files, in one sequence of chains."""

    def __init__(self, capacity: int = 0) -> None:
        # Room for saved files, so that a large project need not be copied soon.
        self.chains = Chains(ORDERS, 5 * capacity // 4 + 256)
        self.spans: dict[Path, tuple[int, int]] = {}
        """First index and end of each file."""
        self.num_alive = 0
        self._starts: list[int] = []
        self._paths: list[Path] = []

    def replace(self, path: Path, ids: Tokens | None) -> None:
        """Replace the tokens of a file; None removes it."""
        if path in self.spans:
            first, end = self.spans.pop(path)
            self.chains.ids[first:end] = DEAD
            self.num_alive -= end - first
        if ids is not None:
            self._starts.append(len(self.chains))
            self._paths.append(path)
            self.spans[path] = len(self.chains), len(self.chains) + len(ids)
            self.chains.append(ids)
            self.num_alive += len(ids)

    def forget_oldest(self, most: int) -> None:
        """Remove the files that were added first until there are at most ``most`` tokens."""
        while self.num_alive > most:
            self.replace(next(iter(self.spans)), None)

    def at(self, place: int) -> tuple[Path, int]:
        """The file at a position, and its first index."""
        number = bisect_right(self._starts, place) - 1
        return self._paths[number], self._starts[number]

    def compact(self) -> "_Files":
        """The same files without the tokens of removed ones, if those are the larger part."""
        if len(self.chains) <= 2 * self.num_alive + _MIN_DEAD:
            return self
        kept = _Files(self.num_alive)
        for path, (first, end) in self.spans.items():
            kept.replace(path, self.chains.ids[first:end])
        return kept
