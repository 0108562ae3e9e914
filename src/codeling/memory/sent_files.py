"""Memory of files that come with a request: what an editor sends beside the open file.

They act as files of the project, for that request alone. Texts are kept encoded by their hash, so
that the next keystroke with the same files costs no more than the hashes. The total size is
bounded: the least recently used texts are dropped first. A text is found only by a client that
sends it again, so no client sees another one's files. This module must not know requests or
sockets.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from hashlib import sha256
from typing import Generic, TypeVar

import numpy as np

from codeling.memory.chains import Chains, Predictor, Tokens
from codeling.memory.project import ORDERS, project_predictor
from codeling.memory.source import Floats, Ids, LocatedSource, Proposal, Scores
from codeling.tokenizer.tokenizer import Tokenizer

MAX_BYTES = 256 << 10
"""Of the files of one request, in UTF-8. The last ones count, each as a whole."""
MAX_TOKENS = 1_000_000
"""Tokens of recent requests that are kept, about 50 MB."""
_OVERHEAD = 64
"""Tokens that a kept entry counts for, beside its own."""

_Value = TypeVar("_Value")


class SentProject:
    """Proposals from the files of one request. It does not change; any thread may use it."""

    def __init__(
        self, predictor: Predictor, line_feeds: Tokens, files: Sequence[tuple[str, Tokens]]
    ) -> None:
        """``files`` are paths and tokens, each after ``<|endoftext|>``, the nearest last.

        ``line_feeds`` (V,) is the number of line feeds in each token.
        """
        self._predictor = predictor
        self._line_feeds = line_feeds
        self._paths = [path for path, _ in files]
        lengths = [len(tokens) for _, tokens in files]
        self._starts = [0, *np.cumsum(lengths[:-1]).tolist()]
        self._chains = Chains(ORDERS, max(1, sum(lengths)))
        self._chains.append(np.concatenate([tokens for _, tokens in files]))

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self._chains)

    def propose(self, history: Ids) -> Proposal:
        """Propose the token after ``history`` (N,)."""
        return self._predictor.propose_after(history, self._chains)

    def score(self, ids: Ids) -> Scores:
        """:meth:`propose` at each position of a document, ``ids`` (T + 1,)."""
        return self._predictor.score(ids, self._chains)

    def places(self, history: Ids, token: int) -> list[tuple[str, int, int]]:
        """Places of ``token``; see :class:`~codeling.memory.source.LocatedSource`."""
        asked = self._predictor.hashed(history)
        found = self._predictor.places(asked.ids, asked.prefix, self._chains, token)
        return [self._locate(place) for place in found]

    def _locate(self, place: int) -> tuple[str, int, int]:
        number = bisect_right(self._starts, place) - 1
        passed = self._chains.ids[self._starts[number] + 1 : place]
        return self._paths[number], place, 1 + int(self._line_feeds[passed].sum())

    def refresh(self) -> None:
        """Nothing changed."""


class LongestContext:
    """Of two sources, the one that knows the longer context proposes; the first if equal."""

    def __init__(self, first: LocatedSource, second: LocatedSource) -> None:
        self._first = first
        self._second = second

    def _choose(self, history: Ids) -> tuple[LocatedSource, Proposal]:
        first, second = self._first.propose(history), self._second.propose(history)
        if second.order > first.order:
            return self._second, second
        return self._first, first

    def propose(self, history: Ids) -> Proposal:
        """Propose the token after ``history`` (N,)."""
        return self._choose(history)[1]

    def score(self, ids: Ids) -> Scores:
        """:meth:`propose` at each position of a document, ``ids`` (T + 1,)."""
        first, second = self._first.score(ids), self._second.score(ids)
        is_longer = second.order > first.order
        return Scores(*np.where(is_longer, second, first))

    def places(self, history: Ids, token: int) -> list[tuple[str, int, int]]:
        """Places of ``token`` in the source that proposes."""
        return self._choose(history)[0].places(history, token)

    def refresh(self) -> None:
        """Take what changed."""
        self._first.refresh()
        self._second.refresh()


class SentFiles:
    """Reads the files of requests, and keeps recent ones. Any thread may use it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        trust: Floats,
        *,
        max_bytes: int = MAX_BYTES,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """``trust`` is the parameter of projects (:func:`codeling.memory.chain_kernels.blend`)."""
        self._tokenizer = tokenizer
        self._predictor = project_predictor(trust, tokenizer.vocab_size)
        counts = [each.count(b"\n") for each in tokenizer.token_bytes]
        self._line_feeds = np.array(counts, np.int32)
        self._max_bytes = max_bytes
        self._texts = _Recent[Tokens](max_tokens)
        self._projects = _Recent[SentProject](max_tokens)
        self._lock = threading.Lock()

    @property
    def num_tokens(self) -> int:
        """Number of tokens that are kept, with some for each entry."""
        return max(self._texts.size, self._projects.size)

    def read(self, files: Sequence[tuple[str, str]]) -> SentProject | None:
        """The memory of ``files``, which are paths and texts, the nearest last; None for none."""
        chosen = self._choose(files)
        if not chosen:
            return None
        key = tuple(chosen)
        with self._lock:
            project = self._projects.get(key)
        if project is None:
            read = [(path, self._encoded(key, text)) for (path, key), text in chosen.items()]
            project = SentProject(self._predictor, self._line_feeds, read)
            with self._lock:
                self._projects.add(key, project, len(project))
        return project

    def _choose(self, files: Sequence[tuple[str, str]]) -> dict[tuple[str, bytes], str]:
        """The last files that fit, by path and hash, the nearest last; without empty ones."""
        chosen: dict[tuple[str, bytes], str] = {}
        num_left = self._max_bytes
        for path, text in reversed(files):
            if len(text) > num_left or not text.strip():
                continue
            data = text.encode(errors="replace")  # a lone surrogate is not text
            key = path, sha256(data).digest()
            num_used = len(data) + len(path)
            if num_used <= num_left and key not in chosen:
                chosen[key] = text if text.isascii() else data.decode()
                num_left -= num_used
        return dict(reversed(chosen.items()))

    def _encoded(self, key: bytes, text: str) -> Tokens:
        """The tokens of a text after ``<|endoftext|>``."""
        with self._lock:
            tokens = self._texts.get(key)
        if tokens is None:
            ids = self._tokenizer.encode(text)
            tokens = np.array([self._tokenizer.end_of_text, *ids], np.int32)
            with self._lock:
                self._texts.add(key, tokens, len(tokens))
        return tokens


class _Recent(Generic[_Value]):
    """Values by key; the least recently used go when all are too large together."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable) -> _Value | None:
        if key not in self._found:
            return None
        self._found.move_to_end(key)
        return self._found[key][0]

    def add(self, key: Hashable, value: _Value, size: int) -> None:
        if key in self._found:  # another thread was faster
            return
        self._found[key] = value, size + _OVERHEAD
        self.size += size + _OVERHEAD
        while self.size > self._most:
            self.size -= self._found.popitem(last=False)[1][1]
